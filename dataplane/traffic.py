"""What one counter of the kernel says about one endpoint: the same shape in every mode, for `explain.traffic` to add up."""

from msgspec import Struct


class Passed(Struct, frozen=True, gc=False):
    """The frontend (or, where the kernel knows it, `subject`, the Service port), the endpoint, and totals since the counter was made.

    A number that the mode does not have is None, never 0.
    """

    protocol: str
    address: str
    port: int
    endpoint: str
    endpoint_port: int
    connections: int
    packets_in: int | None = None
    bytes_in: int | None = None
    packets_out: int | None = None
    bytes_out: int | None = None
    subject: str = ""
