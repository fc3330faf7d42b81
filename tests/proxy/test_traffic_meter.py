import msgspec
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dataplane.traffic import Passed
from pointsman.proxy import traffic_meter
from pointsman.proxy.traffic_meter import EVERY, TrafficMeter

from .views import small

ROUTING = small().routing
WEB = ("shop", "web", "http", "TCP")


class Kernel:
    def __init__(self):
        self.readings, self.now, self.connections, self.error, self.takes = 0, 0.0, 10, None, 0.0

    async def read(self):
        self.readings += 1
        self.now += self.takes
        if self.error:
            raise self.error
        self.connections += 5
        return (Passed("TCP", "", 0, "10.244.1.1", 8080, self.connections, subject="shop/web:http"),)

    def clock(self):
        return self.now


async def test_the_kernel_is_read_once_a_minute_however_many_ask():
    kernel = Kernel()
    meter = TrafficMeter(kernel.read, kernel.clock)
    for _ in range(3):
        assert (await meter.totals(ROUTING))[WEB].connections == 0
    kernel.now += EVERY
    assert (await meter.totals(ROUTING))[WEB].connections == 5
    assert kernel.readings == 2


async def test_a_dear_reading_is_made_more_seldom():
    kernel = Kernel()
    kernel.takes = 2.0
    meter = TrafficMeter(kernel.read, kernel.clock)
    await meter.totals(ROUTING)
    kernel.now += 199.0
    await meter.totals(ROUTING)
    assert kernel.readings == 1


async def test_a_failed_reading_leaves_the_totals_and_is_logged_once(caplog):
    kernel = Kernel()
    meter = TrafficMeter(kernel.read, kernel.clock)
    await meter.totals(ROUTING)
    kernel.error = KernelError(ErrorKind.DENIED, "no")
    for _ in range(2):
        kernel.now += EVERY
        assert WEB in await meter.totals(ROUTING)
    assert caplog.text.count("cannot be read") == 1


async def test_nothing_is_read_before_there_is_a_routing_or_when_it_is_too_large(monkeypatch):
    kernel = Kernel()
    meter = TrafficMeter(kernel.read, kernel.clock)
    assert await meter.totals(None) == {}
    monkeypatch.setattr(traffic_meter, "MOST", 1)
    await meter.totals(msgspec.structs.replace(ROUTING))
    assert kernel.readings == 0
