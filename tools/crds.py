"""Writes k8s/crds/*.yaml: Flagger's three CRDs path by path, plus our status fields, every field described.

The paths and constraints of Flagger's schemas are data (tests/repo/flagger_paths.txt); descriptions stand here, our own
fields in tools/own_status.py. `python -m tools.crds [--check]`; `make docs` and `make check` call it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from tools.own_spec import FURTHER_ROUTES, JUDGING
from tools.own_status import OWN_STATUS, TEXT, Schema, described

ROOT: Final = Path(__file__).parent.parent
PATHS: Final = ROOT / "tests/repo/flagger_paths.txt"
OUT: Final = ROOT / "k8s/crds"

_FOREIGN: Final = "Accepted so that manifests of other providers stay valid; has no meaning on APISIX."
_FOREIGN_ROOTS: Final = (
    "spec.ingressRef", "spec.upstreamRef", "spec.service.timeout", "spec.service.backendTimeout", "spec.service.meshName",
    "spec.service.backends", "spec.service.hosts", "spec.service.delegation", "spec.service.match", "spec.service.retries",
    "spec.service.rewrite", "spec.service.mirror", "spec.service.headers", "spec.service.gateways",
    "spec.service.gatewayRefs", "spec.service.corsPolicy", "spec.service.trafficPolicy",
    "spec.autoscalerRef.primaryScalerQueries", "spec.provider.region",
)  # fmt: skip
DESCRIPTIONS: Final = {
    "canaries": {
        "spec": "What to release and how to judge it.",
        "spec.provider": "Who routes the traffic. Serinus takes care of `apisix`; empty means the default provider.",
        "spec.metricsServer": "URL of the Prometheus for builtin checks and inline queries of this canary.",
        "spec.progressDeadlineSeconds": "Seconds that a workload may take to become ready before the rollout is rolled back; 600 by default.",
        "spec.targetRef": "The workload that people deploy.",
        "spec.autoscalerRef": "The autoscaler of the target; the primary gets a copy of it.",
        "spec.autoscalerRef.primaryScalerReplicas": "Limits of the primary's copy where they shall differ.",
        "spec.autoscalerRef.primaryScalerReplicas.minReplicas": "Least replicas of the primary.",
        "spec.autoscalerRef.primaryScalerReplicas.maxReplicas": "Most replicas of the primary.",
        "spec.routeRef": "The ApisixRoute that leads to the apex Service. It is read, never changed.",
        "spec.service": "The Services in front of the workload.",
        "spec.service.name": "Name of the apex Service, targetRef.name by default; the others add -primary and -canary.",
        "spec.service.port": "Port of the Services.",
        "spec.service.portName": "Name of that port, http by default.",
        "spec.service.appProtocol": "Application protocol of that port.",
        "spec.service.trafficDistribution": "The Services' trafficDistribution, set when they are created.",
        "spec.service.targetPort": "Container port, by number or name; the same as `port` by default.",
        "spec.service.portDiscovery": "Whether the containers' other ports are added to the Services.",
        "spec.service.headless": "Whether the Services are created without a cluster IP.",
        "spec.service.apex": "Extra metadata of the apex Service.",
        "spec.service.primary": "Extra metadata of the primary Service.",
        "spec.service.canary": "Extra metadata of the canary Service.",
        "spec.service.unmanagedMetadata": "Metadata keys of the Services that belong to somebody else.",
        "spec.skipAnalysis": "Promote every revision without judging it.",
        "spec.revertOnDeletion": "Accepted for compatibility: the target always gets its traffic back before this object goes.",
        "spec.suspend": "Keep hands off: nothing is changed while this is true.",
        "spec.analysis": "How a new revision is judged.",
        "spec.analysis.interval": "Time between two checks, at least 10s; 60s by default.",
        "spec.analysis.iterations": "Checks of an analysis without weights: A/B testing with `match`, otherwise Blue/Green.",
        "spec.analysis.threshold": "Failed checks after which the rollout is rolled back.",
        "spec.analysis.maxWeight": "Percent of traffic after which the canary is promoted; 100 by default.",
        "spec.analysis.stepWeight": "Percent of traffic that the canary gets more with each passed check.",
        "spec.analysis.stepWeights": "The canary's percentages one by one; they must rise.",
        "spec.analysis.stepWeightPromotion": "Percent of traffic that the promoted primary takes back per interval; 0 takes all at once.",
        "spec.analysis.mirror": "Send the canary copies of requests before it gets any; nobody gets its answers.",
        "spec.analysis.mirrorWeight": "Percent of requests that are copied; all by default.",
        "spec.analysis.primaryReadyThreshold": "Percent of the primary's replicas that must be available; 100 by default.",
        "spec.analysis.canaryReadyThreshold": "Percent of the canary's replicas that must be available; 100 by default.",
        "spec.analysis.match": "Requests of testers, who get the canary while it is analysed; one entry that fits is enough.",
        "spec.analysis.match[]": "Requests for which all of these conditions hold.",
        "spec.analysis.match[].headers": "Conditions on headers by name.",
        "spec.analysis.match[].queryParams": "Conditions on parameters of the query by name.",
        "spec.analysis.metrics": "Checks by numbers.",
        "spec.analysis.metrics[].name": "`request-success-rate` and `request-duration` are builtin; other names are free.",
        "spec.analysis.metrics[].interval": "Window of the query, 1m by default.",
        "spec.analysis.metrics[].threshold": "Bound: least success rate, most of everything else. Use thresholdRange instead.",
        "spec.analysis.metrics[].thresholdRange": "Bounds between which a value passes; both count as passed.",
        "spec.analysis.metrics[].query": "PromQL with template variables, asked of the metrics server.",
        "spec.analysis.metrics[].templateRef": "A MetricTemplate to ask.",
        "spec.analysis.metrics[].templateVariables": "Values of `{{ variables.x }}` in the template.",
        "spec.analysis.alerts": "Who hears about this canary; empty means the global notifier.",
        "spec.analysis.alerts[].severity": "info hears all, warn hears warnings and errors, error only errors; info by default.",
        "spec.analysis.alerts[].providerRef": "The AlertProvider.",
        "spec.analysis.webhooks": "HTTP calls that accompany, judge or gate the rollout.",
        "spec.analysis.webhooks[].type": "When it is called; empty means rollout.",
        "spec.analysis.webhooks[].muteAlert": "No alert while this gate is waited for.",
        "spec.analysis.webhooks[].url": "Where to POST.",
        "spec.analysis.webhooks[].timeout": "Time for one attempt, 10s by default.",
        "spec.analysis.webhooks[].retries": "Attempts after the first.",
        "spec.analysis.webhooks[].disableTLS": "Don't verify the server's certificate.",
        "spec.analysis.webhooks[].metadata": "Extra fields of the request's body.",
        "spec.analysis.sessionAffinity": "Cookies that keep clients on the side that answered them first.",
        "spec.analysis.sessionAffinity.cookieName": "The cookie that the canary's answers set while it has a share of the traffic.",
        "spec.analysis.sessionAffinity.primaryCookieName": "The same for the primary; it holds for one interval.",
        "spec.analysis.sessionAffinity.maxAge": "Seconds for which a client keeps the canary's cookie; a day by default.",
        "status": "Where the rollout stands.",
        "status.phase": "Where the rollout stands, in one word.",
        "status.failedChecks": "Failed checks of this analysis.",
        "status.canaryWeight": "Percent of traffic that the canary has.",
        "status.iterations": "Iterations done.",
        "status.trackedConfigs": "Checksums of the ConfigMaps and Secrets that the last revision uses.",
        "status.lastAppliedSpec": "Hash of the revision that was analysed last.",
        "status.lastPromotedSpec": "Hash of the revision that was promoted last.",
        "status.lastTransitionTime": "When this status was last written.",
        "status.conditions": "`Promoted`; `Supported` once something was refused; `TargetIdle` once somebody kept the idle target up; `Runnable` once something stood in the way.",
    },
    "metrictemplates": {
        "spec": "A query and whom to ask.",
        "spec.provider": "Whom to ask.",
        "spec.provider.type": "Kind of metrics server; Serinus asks prometheus.",
        "spec.provider.address": "URL of the metrics server.",
        "spec.provider.headers": "Request headers.",
        "spec.provider.secretRef": "Secret with `token`, or `username` and `password`, in the template's namespace.",
        "spec.provider.insecureSkipVerify": "Don't verify the server's certificate.",
        "spec.query": "PromQL with template variables such as `{{ namespace }}`.",
    },
    "alertproviders": {
        "spec": "Where alerts go.",
        "spec.type": "Kind of messenger.",
        "spec.channel": "Channel, `general` by default.",
        "spec.username": "Sender's name, `flagger` by default.",
        "spec.address": "URL of the incoming webhook.",
        "spec.proxy": "HTTP proxy for this provider.",
        "spec.secretRef": "Secret with `address` and optionally `token`.",
    },
}
_WORDS: Final = {
    "name": "Name of what is meant.", "namespace": "Its namespace; the Canary's own by default.", "kind": "Its kind.",
    "apiVersion": "Its API version.", "labels": "Labels.", "annotations": "Annotations.", "min": "Least value that passes.",
    "max": "Greatest value that passes.", "exact": "The whole value.", "prefix": "The value's beginning.",
    "suffix": "The value's end.", "regex": "Regular expression for the whole value.",
}  # fmt: skip

COLUMNS: Final = {
    "canaries": [
        ("Status", ".status.phase", 0, "string"), ("Weight", ".status.canaryWeight", 0, "string"),
        ("Suspended", ".spec.suspend", 1, "boolean"), ("FailedChecks", ".status.failedChecks", 1, "string"),
        ("Interval", ".spec.analysis.interval", 1, "string"), ("Mirror", ".spec.analysis.mirror", 1, "boolean"),
        ("StepWeight", ".spec.analysis.stepWeight", 1, "string"),
        ("StepWeights", ".spec.analysis.stepWeights", 1, "string"), ("MaxWeight", ".spec.analysis.maxWeight", 1, "string"),
        ("LastTransitionTime", ".status.lastTransitionTime", 0, "string"),
    ],
    "metrictemplates": [("Provider", ".spec.provider.type", 0, "string")],
    "alertproviders": [("Type", ".spec.type", 0, "string")],
}  # fmt: skip
NAMES: Final = {
    "canaries": ("Canary", "canary"), "metrictemplates": ("MetricTemplate", "metrictemplate"),
    "alertproviders": ("AlertProvider", "alertprovider"),
}  # fmt: skip


def paths() -> dict[str, list[tuple[str, str, Schema]]]:
    """Flagger's paths by CRD: (path, type, constraints)."""
    found: dict[str, list[tuple[str, str, Schema]]] = {}
    for line in PATHS.read_text().splitlines():
        if line.startswith("# "):
            current = found.setdefault(line[2:].split(".")[0], [])
        elif line.strip():
            match = re.fullmatch(r"(\S+): ([\w-]+)(?: \{(.*)\})?", line.strip())
            if match is None:
                raise ValueError(f"can't read {line!r}")
            current.append((match[1], match[2], _constraints(match[3] or "")))
    return found


def _constraints(text: str) -> Schema:
    """`required=["a"]; x=1`: values are JSON."""
    found: Schema = {}
    decoder = json.JSONDecoder()
    while text := text.lstrip("; "):
        key, _, rest = text.partition("=")
        if not rest.startswith(('"', "[", "{")) and not re.match(r"-?\d", rest):
            value, _, text = rest.partition(";")
            found[key] = value
            continue
        found[key], end = decoder.raw_decode(rest)
        text = rest[end:]
    return found


def crd(plural: str) -> Schema:
    """One CustomResourceDefinition."""
    kind, singular = NAMES[plural]
    root: Schema = {
        "description": f"{kind} of the flagger.app API, as Serinus serves it.", "type": "object", "required": ["spec"], "properties": {
            "apiVersion": described(TEXT, "flagger.app/v1beta1"), "kind": described(TEXT, kind), "metadata": {"type": "object"},
        },
    }  # fmt: skip
    for path, kind_of, constraints in paths()[plural]:
        _place(root, path.split("."), kind_of, constraints, _describe(plural, path))
    if plural == "canaries":
        root["properties"]["status"]["properties"]["serinus"] = OWN_STATUS
        root["properties"]["spec"]["properties"]["routeRefs"] = FURTHER_ROUTES
        for path, kind_of, constraints, text in JUDGING:
            _place(root, path.split("."), kind_of, constraints, text)
        testers = root["properties"]["spec"]["properties"]["analysis"]["properties"]["match"]["items"]["properties"]
        testers["cookies"] = {**testers["headers"], "description": "Conditions on cookies by name, as on headers."}
    version: Schema = {
        "name": "v1beta1", "served": True, "storage": True, "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": of, "jsonPath": where, **({"priority": priority} if priority else {})}
            for name, where, priority, of in COLUMNS[plural]
        ],
        "schema": {"openAPIV3Schema": root},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.flagger.app", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": "flagger.app",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": singular,
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _place(root: Schema, steps: list[str], kind: str, constraints: Schema, text: str) -> None:
    here = root
    for index, step in enumerate(steps):
        name = re.split(r"\[\]|\{\*\}", step)[0]
        here = here.setdefault("properties", {}).setdefault(name, {})
        for suffix in re.findall(r"\[\]|\{\*\}", step):
            here = here.setdefault("items" if suffix == "[]" else "additionalProperties", {})
        if index == len(steps) - 1:
            here.update(_leaf(kind, constraints, text))


def _leaf(kind: str, constraints: Schema, text: str) -> Schema:
    made: Schema = {"description": text}
    if kind == "int-or-string":
        made.update({"x-kubernetes-int-or-string": True})
    else:
        made["type"] = kind
    # `format: string` and `format: url` are no formats: newer API servers only warn about them.
    # An array can't have `required`: Flagger's schema says so at one place and API servers ignore it.
    made.update({
        key: value for key, value in constraints.items()
        if not (key == "format" and value in {"string", "url"}) and not (key == "required" and kind == "array")
    })  # fmt: skip
    return made


def _describe(plural: str, path: str) -> str:
    known = DESCRIPTIONS[plural].get(path)
    if known:
        return known
    if path.startswith(_FOREIGN_ROOTS):
        return _FOREIGN
    last = path.split(".")[-1].removesuffix("[]").removesuffix("{*}")
    if path.endswith(("[]", "{*}")):
        return f"One of `{last}`."
    return _WORDS.get(last, f"`{last}`, as in Flagger.")


class _Dumper(yaml.SafeDumper):
    """Keeps every description on one line and repeats instead of anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(plural: str) -> str:
    """The YAML of one CRD."""
    note = "# Made by `make docs` (tools/crds.py); don't edit.\n"
    return note + yaml.dump(crd(plural), Dumper=_Dumper, sort_keys=False, width=10_000)


def main() -> int:
    """Exit code 1 if --check finds a CRD that would be written differently."""
    check = "--check" in sys.argv
    wrong = []
    for plural in NAMES:
        path, text = OUT / f"{plural}.yaml", render(plural)
        if check:
            wrong += [] if path.exists() and path.read_text() == text else [path.name]
        else:
            path.write_text(text)
    if wrong:
        sys.stderr.write(f"out of date, run `make docs`: {', '.join(wrong)}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
