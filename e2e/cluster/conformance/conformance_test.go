// Package conformance makes a program of the Gateway API's conformance suite, as it is published.
package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

// TestConformance takes the suite's own flags, -gateway-class among them.
func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
