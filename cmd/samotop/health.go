package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
)

// Limits of a health check.
const (
	checkTime   = 5 * time.Second
	checkOctets = 4096
)

// check asks the process of a room, or of the whole house, whether it is ready. The configuration is not read: whoever may
// connect may know.
func (e *env) check(room string) error {
	dir, err := e.house()
	if err != nil {
		return err
	}
	socket := config.Telemetry
	if room != "" {
		if _, err := house.ParseRooms([]string{room}); err != nil {
			return err
		}
		socket = config.RoomTelemetry(room)
	}
	conf := config.Config{Dir: dir}
	ctx, cancel := context.WithTimeout(e.ctx, checkTime)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return house.DialUnix(ctx, conf.RunPath(socket))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://samotop/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the house does not serve: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, checkOctets))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the house is not well: %s", strings.TrimSpace(string(text)))
	}
	return nil
}
