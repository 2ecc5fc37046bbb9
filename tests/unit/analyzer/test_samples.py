"""Words for what went wrong; whole answers are tested with the door in tests/contract."""

import pytest

from services.analyzer import samples


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("request failed: context deadline exceeded", "timeout"),
        ("request failed: connection refused", "unreachable"),
        ("error response: Status 422 Unprocessable Entity: bad", "refused"),
        ("error unmarshaling result: no 'data' in it, '{}'", "malformed"),
        ("query returned multiple values", "unsuitable"),
    ],
)
def test_few_words_to_count_by(error: str, word: str) -> None:
    assert samples.reason_of(error) == word


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("<urllib3.connection.HTTPConnection object at 0x7f00>: Failed to connect"), "Failed to connect"),
        (OSError("HTTPConnection(host='x', port=1): Failed to connect"), "Failed to connect"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (TimeoutError("timed out"), "context deadline exceeded"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_equal_causes_read_equal(error: Exception, text: str) -> None:
    assert samples.cause(error) == text
