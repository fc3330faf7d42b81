import re

from pointsman.proxy import version


def test_the_release_of_kube_proxy_comes_first_and_ours_is_its_metadata() -> None:
    assert version.release() == f"v{version.COMPATIBLE}+pointsman.{version.ours()}"
    assert re.fullmatch(r"v\d+\.\d+\.\d+\+pointsman\.\d+\.\d+\.\d+", version.release())


def test_the_release_before() -> None:
    major, minor = version.release_before().split(".")
    assert version.COMPATIBLE.startswith(f"{major}.{int(minor) + 1}.")


def test_the_raw_version_names_all_parts() -> None:
    assert f'GitVersion:"{version.release()}"' in version.raw()
    assert 'Major:"1"' in version.raw()
