"""A double of Apache APISIX and its ingress controller.

It implements what was measured on real data planes: how weights become turns, which rule wins, whose number a failure
becomes, and what the metrics page says when. What nobody rests on is left out. The order of reading:

`controller` watches the cluster → `config` translates its objects into rules → `matching` finds a request's rule →
`balancing` picks backend and node → `server` is the data path → `metrics` counts and renders the page.
"""
