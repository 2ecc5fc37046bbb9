"""What Serinus remembers in `Canary.status.serinus`, field by field, for tools/crds.py."""

from typing import Any, Final

Schema = dict[str, Any]

TIME: Final[Schema] = {"type": "string", "format": "date-time"}
TEXT: Final[Schema] = {"type": "string"}
INT: Final[Schema] = {"type": "integer"}


def described(schema: Schema, text: str) -> Schema:
    return {"description": text, **schema}


def _object(text: str, /, **properties: Schema) -> Schema:
    return {
        "description": text,
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": properties,
    }


def _list(text: str, items: Schema, **more: Any) -> Schema:
    return {"description": text, "type": "array", "items": items, **more}


OWN_STATUS: Final[Schema] = _object(
    "What Serinus remembers of this rollout. It is the only memory there is: don't edit it.",
    schema=described(INT, "Version of these fields."),
    stage=described(TEXT, "Where inside the phase."),
    revision=described(TEXT, "SHA-256 of the pod template and tracked configs under analysis, or analysed last."),
    promotedRevision=described(TEXT, "The same of what the primary was promoted with."),
    promotion=described(TEXT, "Id of the copy that the primary shall carry."),
    cookies=_object(
        "Cookies of session affinity.", canary=described(TEXT, "What the canary's answers set."),
        primary=described(TEXT, "What the primary's answers set."), former=described(TEXT, "The canary's of the rollout before.")),
    transition=described(INT, "Number of the last transition."),
    seq=described(INT, "Number of the last rollout event."),
    stepTicks=described(INT, "Checks since the last step."),
    noticed=_list("Warnings already told.", described(TEXT, "One of them.")),
    request=described(TEXT, "The last request annotation that was carried out."),
    providersChecked=described({"type": "boolean"}, "Whether the metrics servers were asked."),
    supported=described({"type": "boolean"}, "False while a field of the spec is refused."),
    observedGeneration=described(INT, "Generation of the spec that the status belongs to."),
    configs={"description": "Checksums of the tracked configs of `revision`.", "type": "object",
             "additionalProperties": described(TEXT, "Checksum.")},
    writers={"description": "When others last wrote this status, as far as that was before us.", "type": "object",
             "additionalProperties": described(TEXT, "Time.")},
    nodes=_list("Addresses under which the gateway counts the canary's answers.", _object(
        "One address.", address=described(TEXT, "IP address."), lastSeen=described(TIME, "When it was last ready."),
        former=described({"type": "boolean"}, "It belonged to the revision before and doesn't count."))),
    tick=_object("The one tick that is waited for.", seq=described(INT, "Transition that armed it."), due=described(TIME, "When it is due."),
                 purpose=described(TEXT, "What it asks."), revision=described(TEXT, "Which revision it asks about.")),
    hold=_object("Why nothing is judged for now.", reason=described(TEXT, "The reason."), since=described(TIME, "Since when.")),
    raises=_list("Who scaled the idle target up within the last ten minutes.", _object(
        "One time.", manager=described(TEXT, "The field manager."), at=described(TIME, "When it was put back."),
        generation=described(INT, "Of the target as it was found."))),
    yielded=described(TEXT, "The field manager to whom the idle target's number of replicas was left."),
    rolloutStartedAt=described(TIME, "When this rollout started."),
    analysisStartedAt=described(TIME, "When the first step of this revision was taken."),
    stepStartedAt=described(TIME, "When the last step was taken."),
    transitions=_list("The last twenty transitions, oldest first.", _object(
        "One transition.",
        seq=described(INT, "Its number."), at=described(TIME, "When it was decided."), phase=described(TEXT, "The phase after it."),
        stage=described(TEXT, "The stage after it."), cause=described(TEXT, "Id of the message that caused it."),
        rule=described(TEXT, "The row of the transition table."), weight=described(INT, "The canary's percent after it."),
        failedChecks=described(INT, "Failed checks after it."), iterations=described(INT, "Iterations after it."),
        events=_list("What was told.", _object(
            "One event.", seq=described(INT, "Its number."), type=described(TEXT, "Its public type."),
            eventType=described(TEXT, "Normal or Warning."), message=described(TEXT, "Its text."),
            alert=_object("The message to people.", severity=described(TEXT, "info, warn or error."), message=described(TEXT, "Its text."),
                          details=described({"type": "boolean"}, "Whether it lists the canary's settings.")))),
    ), maxItems=20),
)  # fmt: skip
