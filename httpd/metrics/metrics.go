// Package metrics shows the server's numbers to Prometheus at /metrics, all of them named posthouse_….
//
// It knows no part of the server: whoever wires it hands in functions that read numbers when they are asked for (Family), and gets
// counters and histograms to feed. There is no global registry.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Prefix begins the name of every metric.
const Prefix = "posthouse_"

// Kind is how a number behaves.
type Kind uint8

// The kinds.
const (
	Gauge   Kind = iota // goes up and down
	Counter             // only up
)

// Family is a metric that is read when somebody asks.
type Family struct {
	Name, Help string // the name without Prefix
	Kind       Kind
	Labels     []string
	// Read calls emit for each value, with as many labels as Labels has. Label values must come from few.
	Read func(emit func(value float64, labels ...string))
}

// Registry holds metrics. All methods may be called from many goroutines.
type Registry struct{ r *prometheus.Registry }

// New makes a registry with the runtime's and the process's own metrics.
func New() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{r}
}

// Handler answers GET /metrics.
func (r *Registry) Handler() http.Handler { return promhttp.HandlerFor(r.r, promhttp.HandlerOpts{}) }

// Add adds families; the same name twice is a mistake of the program and panics.
func (r *Registry) Add(families ...Family) {
	for _, f := range families {
		kind := prometheus.GaugeValue
		if f.Kind == Counter {
			kind = prometheus.CounterValue
		}
		r.r.MustRegister(&collector{f, kind, prometheus.NewDesc(Prefix+f.Name, f.Help, f.Labels, nil)})
	}
}

type collector struct {
	Family
	kind prometheus.ValueType
	desc *prometheus.Desc
}

func (c *collector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.Read(func(value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(c.desc, c.kind, value, labels...)
	})
}

// Count makes a counter to feed.
func (r *Registry) Count(name, help string, labels ...string) func(labels ...string) {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: Prefix + name, Help: help}, labels)
	r.r.MustRegister(c)
	return func(labels ...string) { c.WithLabelValues(labels...).Inc() }
}

// Timing makes a histogram of durations to feed, in seconds from 1 ms to 2 minutes.
func (r *Registry) Timing(name, help string, labels ...string) func(d time.Duration, labels ...string) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: Prefix + name, Help: help, Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 120},
	}, labels)
	r.r.MustRegister(h)
	return func(d time.Duration, labels ...string) { h.WithLabelValues(labels...).Observe(d.Seconds()) }
}
