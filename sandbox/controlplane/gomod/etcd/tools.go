//go:build tools

// Package etcd names the command that go.mod and go.sum have to cover.
package etcd

import (
	_ "go.etcd.io/etcd/server/v3"
)
