"""Kubernetes objects as typed values, and the sources that deliver them.

Bytes become structs (`decode`), sources (`manifests`, `api`) deliver them as `events`; `routing` reads them.
"""
