// Package prometheus proves that alerts.yaml is what Prometheus takes. It is a module of its own: Prometheus' packages are many.
package prometheus
