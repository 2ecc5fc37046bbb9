"""A real Kubernetes control plane, without nodes: kube-apiserver, etcd and kube-controller-manager as processes, and
a fake kubelet in place of the nodes. The cluster tests and the benchmarks run on it."""
