package main

import (
	"context"
	"strings"
	"time"

	"posthouse/delivery"
	"posthouse/directory/sasl"
	"posthouse/httpd/metrics"
	"posthouse/internal/link"
	"posthouse/mta"
	"posthouse/spool"
)

// maxDestinations is how many destinations the metrics name, the fullest first: a label must come from few.
const maxDestinations = 50

// measure says which numbers the house shows.
func (h *house) measure() error {
	h.metrics.Add(
		metrics.Family{Name: "queue_recipients", Help: "Recipients in the queue by state.", Labels: []string{"state"}, Read: h.readDepth},
		metrics.Family{Name: "queue_destination_recipients", Help: "Recipients in the queue by state and destination, the fullest destinations.",
			Labels: []string{"state", "destination"}, Read: h.readDestinations},
		metrics.Family{Name: "queue_oldest_seconds", Help: "Age of the oldest message by state and destination.",
			Labels: []string{"state", "destination"}, Read: h.readOldest},
		h.intake("sessions", "SMTP sessions open.", metrics.Gauge, func(m *mta.Metrics) float64 { return float64(m.Sessions.Load()) }),
		h.intake("accepted_messages_total", "Messages accepted.", metrics.Counter, func(m *mta.Metrics) float64 { return float64(m.Messages.Load()) }),
		h.intake("accepted_recipients_total", "Recipients accepted.", metrics.Counter, func(m *mta.Metrics) float64 { return float64(m.Recipients.Load()) }),
		h.intake("repeated_messages_total", "Messages accepted that were known to be sent again.", metrics.Counter, func(m *mta.Metrics) float64 { return float64(m.Repeated.Load()) }),
		h.intake("accepted_octets_total", "Octets accepted.", metrics.Counter, func(m *mta.Metrics) float64 { return float64(m.Octets.Load()) }),
		h.outcomes("refused_total", "Refusals by stage or command.", (*mta.Metrics).Refused),
		h.verdicts(),
		h.attempts(),
		h.outcomes("tls_handshakes_total", "TLS handshakes by version.", (*mta.Metrics).TLS),
	)
	return nil
}

func (h *house) stats() spool.Stats {
	s, err := h.spool.Stats(context.Background(), maxDestinations)
	if err != nil {
		h.log.Error("no queue statistics", "error", err)
		return spool.Stats{}
	}
	return s
}

func (h *house) readDepth(emit func(float64, ...string)) {
	s := h.stats()
	if s.Recipients == nil {
		return // no number is better than a wrong one
	}
	for _, state := range []spool.State{spool.Ready, spool.Leased, spool.Held, spool.Dead} {
		emit(float64(s.Recipients[state]), state.String())
	}
}

func (h *house) readDestinations(emit func(float64, ...string)) {
	for _, d := range h.stats().Destinations {
		emit(float64(d.Recipients), d.State.String(), d.Destination)
	}
}

func (h *house) readOldest(emit func(float64, ...string)) {
	for _, d := range h.stats().Destinations {
		emit(time.Since(d.Oldest).Seconds(), d.State.String(), d.Destination)
	}
}

// intake is a number of every listener that takes mail.
func (h *house) intake(name, help string, kind metrics.Kind, read func(*mta.Metrics) float64) metrics.Family {
	return metrics.Family{Name: "smtp_" + name, Help: help, Kind: kind, Labels: []string{"listener"}, Read: func(emit func(float64, ...string)) {
		for _, d := range h.doors {
			if d.mta != nil {
				emit(read(d.mta), d.name)
			}
		}
	}}
}

// outcomes is a count by outcome of every listener that takes mail.
func (h *house) outcomes(name, help string, read func(*mta.Metrics) map[string]int64) metrics.Family {
	return metrics.Family{Name: "smtp_" + name, Help: help, Kind: metrics.Counter, Labels: []string{"listener", "outcome"}, Read: func(emit func(float64, ...string)) {
		for _, d := range h.doors {
			if d.mta == nil {
				continue
			}
			for outcome, n := range read(d.mta) {
				emit(float64(n), d.name, outcome)
			}
		}
	}}
}

// verdicts is a count by stage and action of every listener that takes mail.
func (h *house) verdicts() metrics.Family {
	return metrics.Family{Name: "smtp_verdicts_total", Help: "Verdicts of the admission stages by action.", Kind: metrics.Counter, Labels: []string{"listener", "stage", "action"}, Read: func(emit func(float64, ...string)) {
		for _, d := range h.doors {
			if d.mta == nil {
				continue
			}
			for judged, n := range d.mta.Judged() {
				emit(float64(n), d.name, judged.Stage, judged.Action.String())
			}
		}
	}}
}

// attempts are those to authenticate over SMTP.
func (h *house) attempts() metrics.Family {
	return metrics.Family{Name: "smtp_authentications_total", Help: "Attempts to authenticate by mechanism and result.", Kind: metrics.Counter, Labels: []string{"listener", "mechanism", "outcome"}, Read: func(emit func(float64, ...string)) {
		for _, d := range h.doors {
			if d.mta == nil {
				continue
			}
			for attempt, n := range d.mta.Authenticated() {
				emit(float64(n), d.name, attempt.Mechanism, attempt.Outcome)
			}
		}
	}}
}

// observeDelivery counts attempts and times them.
func (h *house) observeDelivery() func(delivery.Attempt) {
	attempts := h.metrics.Timing("delivery_attempt_seconds", "Attempts to deliver to one recipient, by transport and result.", "via", "result")
	return func(a delivery.Attempt) { attempts(a.Took, a.Via, a.Result) }
}

// observe counts what the sessions of a protocol do that has a Hub, over all its servers.
func (h *house) observe(protocol string) link.Observer {
	if o, known := h.observers[protocol]; known {
		return o
	}
	title := strings.ToUpper(protocol)
	connected := h.metrics.Count(protocol+"_connections_total", title+" connections.", "result")
	ended := h.metrics.Count(protocol+"_connections_ended_total", title+" connections that ended.")
	logins := h.metrics.Count(protocol+"_authentications_total", "Attempts to authenticate.", "mechanism", "result")
	commands := h.metrics.Timing(protocol+"_command_seconds", title+" commands.", "command", "status")
	word := func(ok bool) string {
		if ok {
			return "ok"
		}
		return "refused"
	}
	o := link.Observer{
		Connected:     func(refused bool) { connected(word(!refused)) },
		Ended:         func() { ended() },
		Authenticated: func(mechanism string, err error) { logins(mechanism, sasl.Outcome(err)) },
		Command:       func(name, status string, took time.Duration) { commands(took, name, status) },
	}
	h.observers[protocol] = o
	return o
}
