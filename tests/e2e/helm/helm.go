//go:build tools

// Package helm names the helm that the tests render and install the chart with, so that go.mod and go.sum cover what it is built of.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
