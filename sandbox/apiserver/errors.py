"""The API server's refusals, each with the Status body that clients decide by."""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.apiserver.kinds import Json, Resource


class ApiFailure(Exception):
    """Becomes a Status object with an HTTP status of `code`."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Json:
        """The body of the answer, or the object of an ERROR event."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": self.details} if self.details else {}),
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault of an object: where, which class of fault, and what to tell people."""

    field: str
    reason: str
    text: str


def required(field: str, text: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", "Required value" + (f": {text}" if text else ""))


def invalid_value(field: str, value: object, text: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else "null" if value is None else str(value)
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {text}")


def not_found(resource: Resource, name: str) -> ApiFailure:
    return ApiFailure(404, "NotFound", f'{resource.key} "{name}" not found', _about(resource, name))


def no_such_path() -> ApiFailure:
    return ApiFailure(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> ApiFailure:
    return ApiFailure(409, "AlreadyExists", f'{resource.key} "{name}" already exists', _about(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiFailure:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.key} "{name}": {why}'
    return ApiFailure(409, "Conflict", message, _about(resource, name))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiFailure:
    texts = [f"{cause.field}: {cause.text}" for cause in causes]
    message = f'{resource.kind_and_group} "{name}" is invalid: ' + (
        texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    )
    listed = [{"reason": cause.reason, "message": cause.text, "field": cause.field} for cause in causes]
    details = {"name": name, "group": resource.group, "kind": resource.kind, "causes": listed}
    return ApiFailure(422, "Invalid", message, details)


def bad_request(message: str) -> ApiFailure:
    return ApiFailure(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiFailure:
    return ApiFailure(403, "Forbidden", f'{resource.key} "{name}" is forbidden: {why}', _about(resource, name))


def method_not_allowed() -> ApiFailure:
    message = "the server does not allow this method on the requested resource"
    return ApiFailure(405, "MethodNotAllowed", message)


def not_acceptable(kinds: str) -> ApiFailure:
    message = f"only the following media types are accepted: {kinds}"
    return ApiFailure(406, "NotAcceptable", message)


def unsupported(given: str, kinds: str) -> ApiFailure:
    message = f"the body of the request was in an unknown format ({given}) - accepted media types include: {kinds}"
    return ApiFailure(415, "UnsupportedMediaType", message)


def expired(asked: int, oldest: int) -> ApiFailure:
    return ApiFailure(410, "Expired", f"too old resource version: {asked} ({oldest})")


def expired_continue() -> ApiFailure:
    return ApiFailure(410, "Expired", "The provided continue parameter is too old to display a consistent list result.")


def too_large_version(asked: int, current: int) -> ApiFailure:
    """Somebody remembers a version that this server never had."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiFailure(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})


def _about(resource: Resource, name: str) -> Json:
    return {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.plural}
