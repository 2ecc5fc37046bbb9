"""A fact is left unanswered only if a look has already answered it."""

from typing import Any

import pytest

from services.router.news import News
from shared.kube import kinds
from shared.kube.json import Json
from shared.wire.messages import CanaryRef, Fact, ObjectRef

UID = "u1"


def _deployment(name: str = "web") -> Json:
    return {"metadata": {"namespace": "shop", "name": name}}


def _fact(name: str = "web", uid: str = UID, **more: Any) -> Fact:
    seen = ObjectRef(kind="Deployment", namespace="shop", name=name, resource_version="7")
    return Fact(id="f", canary=CanaryRef(namespace="shop", name="web", uid=uid), object=seen, **more)


@pytest.fixture
def news() -> News:
    """A Deployment came, and a look that began then found nothing left to do."""
    news = News()
    news.changed(kinds.DEPLOYMENT, None, _deployment())
    news.quiet(UID, news.moment())
    return news


def test_what_a_quiet_look_has_seen_is_no_news(news: News) -> None:
    assert not news.tells(_fact())


def test_another_canary_has_not_looked(news: News) -> None:
    assert news.tells(_fact(uid="u2"))


def test_what_changes_after_a_look_began_is_news_until_the_next(news: News) -> None:
    moment = news.moment()
    news.changed(kinds.DEPLOYMENT, _deployment(), _deployment())
    news.quiet(UID, moment)
    assert news.tells(_fact()), "it came while somebody looked"
    news.quiet(UID, news.moment())
    assert not news.tells(_fact())


def test_what_others_are_about_says_nothing_of_this_one(news: News) -> None:
    news.changed(kinds.DEPLOYMENT, None, _deployment("other"))
    assert not news.tells(_fact())
    assert news.tells(_fact("other"))


def test_what_is_gone_or_was_never_seen_is_news(news: News) -> None:
    assert news.tells(_fact("unheard-of"))
    news.changed(kinds.DEPLOYMENT, _deployment(), None)
    news.quiet(UID, news.moment())
    assert news.tells(_fact())


def test_a_look_that_is_under_way_or_failed_has_answered_nothing(news: News) -> None:
    news.forget(UID)
    assert news.tells(_fact())


def test_a_checksum_is_always_news(news: News) -> None:
    """The router may have been refused the object that it was made of."""
    assert news.tells(_fact(checksum="abc"))
