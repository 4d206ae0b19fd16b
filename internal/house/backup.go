package house

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store/disk"
)

// A directory of backups holds one directory for each, named by the time at which it was begun. Those that were not
// finished end in ".unfinished". Equal files of several backups are one file with several names.
const (
	manifestName   = "BACKUP"
	manifestFormat = 1
	backupStamp    = "20060102T150405.000Z"
	unfinished     = ".unfinished"
	backupLock     = "LOCK"
)

// DefaultKeep is how many backups are kept.
const DefaultKeep = 2

// BackupOptions of Backup. Dir, To and Client are required.
type BackupOptions struct {
	Dir      string // of the house
	To       string
	Keep     int // so many of the newest are kept; 0: DefaultKeep
	Version  string
	Client   management.Client // to the house
	Progress func(management.Progress)
}

// Manifest says what a backup holds. It is written when the backup has been verified, and by it a backup counts.
type Manifest struct {
	Format    int       `json:"format"`
	Version   string    `json:"version"`
	Begun     time.Time `json:"begun"`
	Done      time.Time `json:"done"`
	Databases []Backed  `json:"databases"`
	Files     []string  `json:"files"` // of the configuration, keys and certificates
	Dir       string    `json:"dir,omitempty"`
}

// Backed is one database of a backup.
type Backed struct {
	Name        string `json:"name"`
	Octets      int64  `json:"octets"`
	SharedFiles int    `json:"shared_files"` // with an earlier backup, or the house
	NewFiles    int    `json:"new_files"`
}

// FaultsError: a copy is damaged, and so is no backup.
type FaultsError struct {
	Dir    string
	Faults []management.Fault
}

func (e *FaultsError) Error() string {
	f := e.Faults[0]
	return fmt.Sprintf("%s does not verify: %d faults, the first in database %s: %s %s at %d", e.Dir, len(e.Faults), f.Store, f.What, f.File, f.Offset)
}

// ownFiles are what a house keeps beside its databases.
var ownFiles = []string{config.FileName, config.DropInDir, config.TLSDir, config.DKIMDir}

// cutOrder puts the queue before the mails, so that a message on its way from one to the other is in both rather than in
// none, and is delivered once by its delivery id. Who exists comes after what they have.
func cutOrder(names []string) []string {
	first := []string{queueDB, mailsDB, accountsDB}
	out := slices.Clone(names)
	rank := func(n string) int {
		if i := slices.Index(first, n); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// Backup copies a house into a new directory in o.To, while it serves or not, and verifies the copy: only then it
// counts. What is there already in the newest backup, or can be linked, is not copied.
func Backup(ctx context.Context, o BackupOptions) (*Manifest, error) {
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Progress == nil {
		o.Progress = func(management.Progress) {}
	}
	if inside(o.To, o.Dir) {
		return nil, &UsageError{Text: fmt.Sprintf("backup: %s is in the directory of the house; name another place, best on another disk", o.To)}
	}
	if err := os.MkdirAll(o.To, 0o700); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	lock, err := disk.OS{}.Lock(filepath.Join(o.To, backupLock))
	if err != nil {
		return nil, fmt.Errorf("backup: another one is being written to %s: %w", o.To, err)
	}
	defer lock.Close()
	b := &backup{o: o, m: Manifest{Format: manifestFormat, Version: o.Version, Begun: time.Now().UTC()}}
	if err := b.run(ctx); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return &b.m, nil
}

type backup struct {
	o        BackupOptions
	m        Manifest
	dir      string // being written
	previous string // the newest good one; "": none
}

func (b *backup) run(ctx context.Context) error {
	good, err := b.sort()
	if err != nil {
		return err
	}
	if len(good) > 0 {
		b.previous = good[len(good)-1]
	}
	final := filepath.Join(b.o.To, b.m.Begun.Format(backupStamp))
	b.dir = final + unfinished
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return err
	}
	if err := b.databases(ctx); err != nil {
		return err
	}
	for _, name := range ownFiles {
		if err := b.files(name); err != nil {
			return err
		}
	}
	if err := b.verify(ctx); err != nil {
		return err
	}
	if err := b.finish(final); err != nil {
		return err
	}
	good = append(good, final)
	for len(good) > b.o.Keep {
		if err := os.RemoveAll(good[0]); err != nil {
			return fmt.Errorf("the new backup is good, an old one could not be removed: %w", err)
		}
		good = good[1:]
	}
	return nil
}

// sort finds the good backups, the oldest first, and removes those that were never finished.
func (b *backup) sort() (good []string, err error) {
	good, bad, err := findBackups(b.o.To)
	for _, dir := range bad {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return good, err
}

func findBackups(to string) (good, bad []string, err error) {
	entries, err := os.ReadDir(to) // in the order of names, which is that of time
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		stamp, half := strings.CutSuffix(e.Name(), unfinished)
		if _, err := time.Parse(backupStamp, stamp); err != nil || !e.IsDir() {
			continue
		}
		dir := filepath.Join(to, e.Name())
		if half {
			bad = append(bad, dir)
		} else if _, err := readManifest(dir); err == nil {
			good = append(good, dir)
		}
	}
	return good, bad, nil
}

func readManifest(dir string) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err)
	}
	return m, nil
}

// parseManifest reads a manifest, all of whose names stay within the backup.
func parseManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if m.Format > manifestFormat {
		return nil, fmt.Errorf("has format %d, this program knows %d; use a newer samotop", m.Format, manifestFormat)
	}
	for _, d := range m.Databases {
		if !filepath.IsLocal(d.Name) || filepath.Base(d.Name) != d.Name || d.Name == "." {
			return nil, fmt.Errorf("names a database %q", d.Name)
		}
	}
	for _, name := range m.Files {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("names a file outside of the house: %q", name)
		}
	}
	return &m, nil
}

// databases copies them all, one after the other, each as it is at its moment.
func (b *backup) databases(ctx context.Context) error {
	var names []string
	if _, err := b.o.Client.Each(ctx, "store/status", nil, func(raw json.RawMessage) error {
		var s management.Store
		err := json.Unmarshal(raw, &s)
		names = append(names, s.Name)
		return err
	}); err != nil {
		return err
	}
	for _, name := range cutOrder(names) {
		if err := b.database(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *backup) database(ctx context.Context, name string) (err error) {
	b.o.Progress(management.Progress{What: "copying " + name})
	var cut management.CopyOf
	args := management.NameArgs{Name: name}
	defer func() {
		// Also after an error, and when ctx has ended: it would hold space.
		err = errors.Join(err, b.o.Client.Call(context.WithoutCancel(ctx), "store/uncut", args, nil))
	}()
	if err := b.o.Client.Call(ctx, "store/cut", args, &cut); err != nil {
		return err
	}
	t := &tree{from: cut.Dir, to: filepath.Join(b.dir, name)}
	if b.previous != "" {
		t.like = filepath.Join(b.previous, name)
	}
	t.progress = func(done, total int64) {
		b.o.Progress(management.Progress{What: "copying " + name, Done: done, Total: total})
	}
	if err := t.copy(ctx); err != nil {
		return fmt.Errorf("database %s: %w", name, err)
	}
	b.m.Databases = append(b.m.Databases, Backed{Name: name, Octets: t.octets, SharedFiles: t.shared, NewFiles: t.copied})
	return nil
}

// files copies a file, or a directory of files, of the configuration.
func (b *backup) files(name string) error {
	return filepath.WalkDir(filepath.Join(b.o.Dir, name), func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(b.o.Dir, path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && rel == name:
			return nil
		case err != nil || rerr != nil:
			return errors.Join(err, rerr)
		case d.IsDir():
			return os.MkdirAll(filepath.Join(b.dir, rel), 0o700)
		}
		info, err := os.Stat(path) // of what a link leads to
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		b.m.Files = append(b.m.Files, rel)
		return copyFile(path, filepath.Join(b.dir, rel), info.Mode().Perm())
	})
}

func (b *backup) verify(ctx context.Context) error {
	var names []string
	for _, d := range b.m.Databases {
		names = append(names, d.Name)
	}
	return verifyCopies(ctx, b.dir, names, b.o.Progress)
}

// finish writes the manifest and gives the directory its name; then it is a backup.
func (b *backup) finish(final string) error {
	b.m.Done = time.Now().UTC()
	text, err := json.MarshalIndent(&b.m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(b.dir, manifestName), append(text, '\n')); err != nil {
		return err
	}
	if err := syncTree(b.dir); err != nil {
		return err
	}
	if err := os.Rename(b.dir, final); err != nil {
		return err
	}
	b.m.Dir = final
	return disk.OS{}.SyncDir(b.o.To)
}

// inside tells whether path is dir or below it.
func inside(path, dir string) bool {
	path, dir = real(path), real(dir)
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

// real resolves links of what is there already.
func real(path string) string {
	path, _ = filepath.Abs(path)
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	if up := filepath.Dir(path); up != path {
		return filepath.Join(real(up), filepath.Base(path))
	}
	return path
}
