package house

import (
	"context"
	"time"

	"github.com/samotop/samotop/internal/telemetry"
	"github.com/samotop/samotop/qm"
)

// tlsResult names a result of TLS.
func tlsResult(s string) string {
	if s == "" {
		return "ok"
	}
	return s
}

// countQueue shows the queue.
func (h *House) countQueue() {
	if h.queue == nil {
		return
	}
	show := func(name, help, label string, counter bool, value func(m *qm.Metrics) []telemetry.Sample) {
		var labels []string
		if label != "" {
			labels = []string{label}
		}
		h.metrics.Family(name, help, labels, counter, func(ctx context.Context) ([]telemetry.Sample, error) {
			m, err := h.queue.Metrics(ctx)
			if err != nil {
				return nil, err
			}
			return value(&m), nil
		})
	}
	single := func(v float64) []telemetry.Sample { return []telemetry.Sample{{Value: v}} }
	show("samotop_qm_messages", "Messages in the queue, counted up to a million rows.", "", false, func(m *qm.Metrics) []telemetry.Sample {
		return single(float64(m.Queue.Messages))
	})
	show("samotop_qm_recipients", "Recipients in the queue, by state.", "state", false, func(m *qm.Metrics) []telemetry.Sample {
		s := &m.Queue
		return []telemetry.Sample{{Labels: []string{string(qm.StateDeferred)}, Value: float64(s.Deferred)},
			{Labels: []string{string(qm.StateHeld)}, Value: float64(s.Held)},
			{Labels: []string{string(qm.StateQueued)}, Value: float64(s.Recipients - s.Deferred - s.Held)}}
	})
	show("samotop_qm_oldest_seconds", "Age of the oldest message in the queue.", "", false, func(m *qm.Metrics) []telemetry.Sample {
		if m.Queue.Oldest.IsZero() {
			return single(0)
		}
		return single(time.Since(m.Queue.Oldest).Seconds())
	})
	show("samotop_qm_deliveries", "Deliveries under way.", "", false, func(m *qm.Metrics) []telemetry.Sample { return single(float64(m.Queue.Active)) })
	show("samotop_qm_connections", "Connections to other servers, idle ones too.", "", false, func(m *qm.Metrics) []telemetry.Sample {
		return single(float64(m.Queue.Connections))
	})
	show("samotop_qm_attempts_total", "Attempts to deliver, by what came of them.", "result", true, func(m *qm.Metrics) (out []telemetry.Sample) {
		for i, kind := range qm.AttemptKinds() {
			out = append(out, telemetry.Sample{Labels: []string{kind}, Value: float64(m.Attempts[i])})
		}
		return out
	})
	h.metrics.Family("samotop_qm_tls_sessions_total", "How TLS to other servers went, by policy and result (RFC 8460).", []string{"policy", "result"}, true,
		func(context.Context) (out []telemetry.Sample, err error) {
			_, sessions := h.queue.Counts()
			for _, s := range sessions {
				out = append(out, telemetry.Sample{Labels: []string{s.Policy, tlsResult(s.Result)}, Value: float64(s.Count)})
			}
			return out, nil
		})
}
