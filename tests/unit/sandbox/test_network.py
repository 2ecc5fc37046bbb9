"""Which address is which listener."""

import pytest

from sandbox.network import Network, Node, ServiceTable
from tests.unit.sandbox.objects import CANARY_IP, TARGET_PORT, endpoints, service


@pytest.mark.parametrize(
    "name",
    [
        "apisix-gateway.apisix",
        "apisix-gateway.apisix.svc",
        "apisix-gateway.apisix.svc.cluster.local",
        "Apisix-Gateway.apisix.",
    ],
)
def test_every_name_of_a_service_is_the_same(name: str) -> None:
    network = Network()
    network.claim("apisix-gateway.apisix", 80, 4000)

    assert network.resolve(name, 80) == 4000
    assert network.resolve(name, 81) is None


def test_an_address_has_one_listener_until_it_is_released() -> None:
    network = Network()
    network.claim("10.128.0.1", 9898, 4000)
    with pytest.raises(ValueError, match="taken"):
        network.claim("10.128.0.1", 9898, 4001)

    network.release("10.128.0.1", 9898)
    network.claim("10.128.0.1", 9898, 4001)

    assert network.resolve("10.128.0.1", 9898) == 4001


def test_a_service_leads_to_its_ready_endpoints_in_turn() -> None:
    network = Network()
    for number in (1, 2, 3):
        network.claim(f"10.128.0.{number}", TARGET_PORT, 4000 + number)
    slices = [endpoints("podinfo-canary", "10.128.0.1", "10.128.0.2", unready=["10.128.0.3"])]
    network.follow(ServiceTable([service("podinfo-canary", CANARY_IP)], slices))

    assert [network.resolve(CANARY_IP, 80) for _ in range(4)] == [4001, 4002, 4001, 4002]
    assert {network.resolve("podinfo-canary.test", 80) for _ in range(2)} == {4001, 4002}
    assert network.resolve("podinfo-canary.other", 80) is None
    assert network.resolve(CANARY_IP, TARGET_PORT) is None  # the Service has no such port


def test_nobody_ready_is_a_refused_connection() -> None:
    network = Network()
    network.follow(ServiceTable([service("podinfo-canary", CANARY_IP)], [endpoints("podinfo-canary")]))

    assert network.resolve(CANARY_IP, 80) is None


def test_ports_by_number_and_name() -> None:
    table = ServiceTable([service("podinfo", "None")], [endpoints("podinfo", "10.128.0.1")])

    assert table.cluster_ip("test", "podinfo") == ""  # headless
    assert table.ready("test", "podinfo", "http") == (Node("10.128.0.1", TARGET_PORT),)
    assert table.ready("test", "podinfo", 80) == (Node("10.128.0.1", TARGET_PORT),)
    assert table.ready("test", "podinfo", 81) == ()
