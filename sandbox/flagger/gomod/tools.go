//go:build tools

// Package flagger names the command that go.mod and go.sum have to cover.
package flagger

import (
	_ "github.com/fluxcd/flagger/cmd/flagger"
)
