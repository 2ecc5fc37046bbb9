"""The rendered accounts: whose password comes from where. What they allow is tried on a real server."""

import re

import pytest

from shared.bus import accounts
from shared.bus.markers import subject

PASSWORDS = {user.name: f"p-{user.name}" for user in accounts.USERS}


def test_each_user_is_in_its_account_once_with_its_password() -> None:
    text = accounts.render(PASSWORDS)
    for user in accounts.USERS:
        assert len(re.findall(rf'user: {user.name}, password: "p-{user.name}"', text)) == 1


def test_a_variable_stays_one_and_an_nkey_needs_no_password() -> None:
    text = accounts.render({**PASSWORDS, "router": "$ROUTER_PASSWORD"}, {"analyzer": ["UABC", "UDEF"]})
    assert "user: router, password: $ROUTER_PASSWORD" in text
    assert 'nkey: "UABC" # analyzer' in text
    assert 'nkey: "UDEF" # analyzer' in text
    assert "p-analyzer" not in text


def test_a_user_without_a_credential_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="user notifier has neither a password nor an nkey"):
        accounts.render({name: word for name, word in PASSWORDS.items() if name != "notifier"})


@pytest.mark.parametrize("password", ['a"b', "a\\b", "a\nb"])
def test_a_password_that_would_end_its_quotes_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(ValueError, match="the password of user router can't be quoted") as found:
        accounts.render({**PASSWORDS, "router": password})
    assert password not in str(found.value)


def test_an_installation_may_have_users_of_its_own() -> None:
    more = accounts.User(name="operator", account=accounts.SERINUS, publish=("a",), subscribe=("b",))
    assert 'user: operator, password: "x"' in accounts.render({**PASSWORDS, "operator": "x"}, more=(more,))


def test_no_service_may_create_a_consumer_or_touch_a_stream() -> None:
    for user in accounts.USERS:
        if user.account == accounts.SERINUS and user.name != "bootstrap":
            rights = " ".join(user.publish or ())
            assert not re.search(r"CREATE|UPDATE|DELETE|PURGE|SNAPSHOT|RESTORE|PAUSE|(^| )>", rights), user.name


def test_a_markers_key_becomes_one_token_that_key_value_tools_can_read() -> None:
    keys = ["uid:7/slack", "uid:7.slack", "uid=7", "a b", "a~b", "a%2Fb", "a/b", "ü", "*", ">"]
    found = [subject(key).removeprefix("$KV.serinus-markers.") for key in keys]
    assert len(set(found)) == len(keys)
    assert all(re.fullmatch(r"[-/_=a-zA-Z0-9]+", each) for each in found), found
