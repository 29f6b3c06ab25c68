package main

import (
	"math"
	"slices"
	"time"

	"posthouse/internal/config"
	"posthouse/mta"
	"posthouse/mta/milter"
	"posthouse/mta/stage"
)

// admission is what the configuration says of it, as the listeners take it.
type admission struct {
	stages     mta.Admission
	clients    mta.ClientsOptions
	tarpit     mta.Tarpit
	perNetwork int
	monitor    bool // DMARC only notes
}

// toAdmission gives the section its meaning: names of stages, and the words for actions, which the configuration has checked.
func toAdmission(c *config.Config, complain func(key string, err error)) admission {
	a := c.Admission
	action := func(word string) stage.Action {
		parsed, err := stage.ParseAction(word)
		if err != nil {
			complain("admission", err)
		}
		return parsed
	}
	out := admission{
		stages: mta.Admission{
			Strangers: a.Stages,
			Users:     a.UserStages,
			Greet:     stage.Greet{Delay: a.Greet.Delay, Action: action(a.Greet.Action)},
			HELO:      action(a.HELO),
			IPRev:     action(a.IPRev),
			Recipient: a.Recipient,
			Header:    stage.Sanity{From: action(a.Header.SeveralFrom), EightBit: action(a.Header.EightBit), Other: action(a.Header.Other)},
		},
		clients: mta.ClientsOptions{
			Never: a.Trusted, Connections: a.Connections.PerMinute, Faults: a.Connections.Faults, Unknown: a.Connections.Unknown, Ban: a.Connections.Ban,
		},
		tarpit:     mta.Tarpit{After: a.Tarpit.After, Delay: a.Tarpit.Delay, Sessions: a.Tarpit.Sessions},
		perNetwork: a.Connections.PerNetwork,
		monitor:    a.Monitor,
	}
	out.stages.ClamAV = stage.ClamAV{Network: a.ClamAV.Dial.Network, Address: a.ClamAV.Dial.Address, Action: action(a.ClamAV.Action), MaxSize: a.ClamAV.MaxSize}
	for _, m := range a.Milters {
		filter := milter.New(milter.Options{Network: m.Dial.Network, Address: m.Dial.Address, Timeout: m.Timeout, Reuse: m.Reuse})
		out.stages.Milters = append(out.stages.Milters, stage.MilterOptions{
			Name: m.Name, Filter: filter, Lost: action(m.Lost), Patience: max(time.Minute, 2*m.Timeout),
		})
	}
	if out.perNetwork == 0 {
		out.perNetwork = math.MaxInt // no bound
	}
	if err := mta.CheckStrangers(a.Stages); err != nil {
		complain("admission.stages", err)
	}
	if err := mta.CheckStages(a.UserStages); err != nil {
		complain("admission.user_stages", err)
	}
	return out
}

// openClients makes the memory of who connects. Networks that may relay are trusted, and proxies stand for everybody.
func (h *house) openClients() error {
	o := h.admission.clients
	for _, l := range h.listeners {
		o.Never = slices.Concat(o.Never, l.RelayFrom, l.ProxyProtocolFrom, l.XClientFrom)
	}
	h.clients = mta.NewClients(o)
	for _, m := range h.admission.stages.Milters {
		h.onClose(m.Filter.Close)
	}
	return nil
}
