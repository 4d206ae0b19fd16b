package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type reportsCmd struct {
	List reportsListCmd `cmd:"" help:"List the reports, the newest first."`
	Show reportsShowCmd `cmd:"" help:"Show one report with its rows."`
}

type reportsListCmd struct {
	Domain string `arg:"" optional:"" help:"Only about this domain."`
	jsonFlag
}

func (reportsListCmd) Help() string {
	return `What other hosts have reported about mail in our name: DMARC aggregate and failure reports, SMTP TLS reports, complaints.
They are read from the mail to the addresses in [reports] addresses, which is delivered all the same.

Example:
  samotop reports list example.org`
}

func (c *reportsListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "id\treceived\tkind\tfrom\tabout\tperiod\tgood\tbad", func(r management.Report) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s (%s)\t%s\t%s\t%d\t%d", r.ID, stamp(r.Received), printableText(r.Kind), printableText(r.Org), printableText(r.From),
			printableText(r.Domain), r.Begin.UTC().Format("2006-01-02"), r.Good, r.Bad)
	})
	return t.end(each(e, house.Management, "reports/list", management.NameArgs{Name: c.Domain}, t.add))
}

type reportsShowCmd struct {
	ID string `arg:"" name:"id" help:"Id of a report."`
	jsonFlag
}

func (reportsShowCmd) Help() string {
	return `Example:
  samotop reports show 00005e2f1c2d3e4f5a6b7c8d`
}

func (c *reportsShowCmd) Run(e *env) error {
	var r management.Report
	if err := e.call(house.Management, "reports/show", management.NameArgs{Name: c.ID}, &r); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	fmt.Fprintf(e.stdout, "Kind     %s\nFrom     %s, sent by %s (dmarc=%s)\nReport   %s\nAbout    %s\nPeriod   %s to %s\nGood     %d\nBad      %d\n", printableText(r.Kind),
		printableText(r.Org), printableText(r.From), printableText(r.Auth), printableText(r.ReportID), printableText(r.Domain), stamp(r.Begin), stamp(r.End), r.Good, r.Bad)
	t := newTable(e.stdout, false, "source\tcount\tfrom\tdkim\tspf\tdone\ttext", func(x management.ReportRow) string {
		return fmt.Sprintf("%s\t%d\t%s\t%s\t%s\t%s\t%s", printableText(x.Source), x.Count, printableText(x.Header), printableText(x.DKIM), printableText(x.SPF), printableText(x.Disposition), printableText(x.Text))
	})
	var err error
	for _, x := range r.Rows {
		if err = t.add(x); err != nil {
			break
		}
	}
	return t.end(err)
}
