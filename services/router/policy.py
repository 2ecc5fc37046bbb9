"""What this router takes on, and what it refuses: pure, from a Canary to sentences that name the field and the fix.

Refused is never approximated: no object of a refused Canary is touched.
"""

from shared.canary.resource import Analysis, CanarySpec

PROVIDER = "apisix"


def ours(provider: str, default_provider: str) -> bool:
    """Serinus owns a Canary whose provider is apisix, or empty while apisix is the default."""
    return (provider or default_provider) == PROVIDER


def refusals(spec: CanarySpec, rival: str = "") -> tuple[str, ...]:
    """Sentences about what keeps this Canary from being run; `rival` is an older Canary with the same target."""
    found = []
    if spec.target_ref.kind != "Deployment":
        found.append(f"spec.targetRef.kind {spec.target_ref.kind} is not supported: use Deployment")
    if spec.autoscaler_ref and spec.autoscaler_ref.kind != "HorizontalPodAutoscaler":
        kind = spec.autoscaler_ref.kind
        found.append(f"spec.autoscalerRef.kind {kind} is not supported: use HorizontalPodAutoscaler")
    if spec.service is None:
        found.append("spec.service is missing: set spec.service.port")
    if rival:
        found.append(
            f"spec.targetRef.name {spec.target_ref.name} belongs to canary {rival} already: delete one of them"
        )
    return (*found, *(_analysis(spec.analysis) if spec.analysis else ()))


def _analysis(analysis: Analysis) -> tuple[str, ...]:
    found = []
    if analysis.match:
        found.append("spec.analysis.match is not supported: remove it and use stepWeight or stepWeights")
    if analysis.mirror:
        found.append("spec.analysis.mirror is not supported: remove it")
    if analysis.iterations > 0:
        found.append("spec.analysis.iterations is not supported: use stepWeight or stepWeights")
    if analysis.session_affinity:
        found.append("spec.analysis.sessionAffinity is not supported: remove it")
    if not found and not analysis.step_weight and not any(analysis.step_weights):
        found.append("spec.analysis.stepWeight is 0 and spec.analysis.stepWeights is empty: set one of them")
    if analysis.step_weights and list(analysis.step_weights) != sorted(set(analysis.step_weights)):
        found.append("spec.analysis.stepWeights must rise: " + ", ".join(map(str, analysis.step_weights)))
    return tuple(found)
