package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Client reaches a Handler.
type Client struct {
	HTTP    *http.Client // such as management.Client has
	Account string
}

func (c Client) ask(ctx context.Context, what, folder string, body io.Reader) (*http.Response, error) {
	u := "http://samotop/v1/transfer/" + what + "?" + url.Values{"account": {c.Account}, "folder": {folder}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, errors.New("ask the server: this server has no mailbox, or is of another version")
	}
	return resp, nil
}

func (c Client) folders(ctx context.Context) ([]listed, error) {
	resp, err := c.ask(ctx, "folders", "", http.NoBody)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out []listed
	for dec := json.NewDecoder(resp.Body); ; {
		var l listed
		switch err := dec.Decode(&l); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("read the answer: %w", err)
		case l.Refusal != nil:
			return nil, fmt.Errorf("account %s: %w", c.Account, l.Refusal)
		}
		out = append(out, l)
	}
}

// batch stores messages in one commit.
func (c Client) batch(ctx context.Context, folder string, items []Item) (n counts, err error) {
	pr, pw := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		b := bufio.NewWriterSize(pw, 64<<10)
		err := sendAll(b, items)
		if err == nil {
			err = b.Flush()
		}
		pw.CloseWithError(err)
		sent <- err
	}()
	resp, err := c.ask(ctx, "import", folder, pr)
	if err == nil {
		defer resp.Body.Close()
		if err = json.NewDecoder(resp.Body).Decode(&n); err != nil {
			err = fmt.Errorf("read the answer: %w", err)
		}
	}
	pr.CloseWithError(io.ErrClosedPipe)
	if serr := <-sent; serr != nil && !errors.Is(serr, io.ErrClosedPipe) {
		return counts{}, &readError{serr}
	}
	if err == nil && n.Refusal != nil {
		err = n.Refusal
	}
	return n, err
}

// readError: a message could not be read where it comes from.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func sendAll(w io.Writer, items []Item) error {
	for _, it := range items {
		if err := writeRecord(w, it.Head, it.Write); err != nil {
			return err
		}
	}
	return writeRecord(w, Head{End: true}, nil)
}

// each reads the messages of a folder. A content that f does not read is passed over.
func (c Client) each(ctx context.Context, folder string, f func(h Head, content func(io.Writer) error) error) error {
	resp, err := c.ask(ctx, "export", folder, http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		h, err := readHead(r)
		switch {
		case err != nil:
			return fmt.Errorf("read the answer: %w", err)
		case h.Error != "":
			return errors.New(h.Error)
		case h.End:
			return nil
		}
		read := false
		err = f(h, func(w io.Writer) error {
			read = true
			return readContent(w, r)
		})
		if err == nil && !read {
			err = readContent(io.Discard, r)
		}
		if err != nil {
			return err
		}
	}
}
