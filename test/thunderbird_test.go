package test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// thunderbird is Mozilla's mail program without a window, driven by its own remote protocol.
type thunderbird struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	last int
}

// thunderbirdPrefs keep it from asking anything, and from the world.
const thunderbirdPrefs = `
user_pref("marionette.port", 0);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.rights.version", 1);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("services.settings.server", "http://127.0.0.1:9/v1");
`

func newThunderbird(t *testing.T) *thunderbird {
	t.Helper()
	program := need(t, "thunderbird")
	home := t.TempDir()
	profile := filepath.Join(home, "profile")
	if err := errors.Join(os.Mkdir(profile, 0o700), os.WriteFile(filepath.Join(profile, "user.js"), []byte(thunderbirdPrefs), 0o600)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := exec.Command(program, "--headless", "--marionette", "-remote-allow-system-access", "--no-remote", "--profile", profile)
	c.Env = append(os.Environ(), "HOME="+home, "MOZ_HEADLESS=1", "MOZ_CRASHREPORTER_DISABLE=1")
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // its children write into the profile until they are gone
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	})
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		port, _ := os.ReadFile(filepath.Join(profile, "MarionetteActivePort"))
		if conn, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port))); len(port) > 0 && err == nil {
			b := &thunderbird{t: t, conn: conn, in: bufio.NewReader(conn)}
			t.Cleanup(func() { conn.Close() })
			b.receive(nil)
			b.command("WebDriver:NewSession", map[string]any{"capabilities": map[string]any{}})
			b.command("WebDriver:SetTimeouts", map[string]any{"script": patience.Milliseconds()})
			b.command("Marionette:SetContext", map[string]any{"value": "chrome"})
			return b
		}
		if time.Now().After(end) {
			t.Fatalf("thunderbird does not begin\n%s", out.String())
		}
	}
}

// receive reads a message: its length in decimal, a colon, JSON.
func (b *thunderbird) receive(v any) {
	b.t.Helper()
	head, err := b.in.ReadString(':')
	if err != nil {
		b.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil {
		b.t.Fatal(err)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(b.in, text); err != nil {
		b.t.Fatal(err)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(text, v); err != nil {
		b.t.Fatalf("%v in %.500s", err, text)
	}
}

func (b *thunderbird) command(name string, params map[string]any) json.RawMessage {
	b.t.Helper()
	b.last++
	text, err := json.Marshal([]any{0, b.last, name, params})
	if err != nil {
		b.t.Fatal(err)
	}
	_ = b.conn.SetDeadline(time.Now().Add(2 * patience))
	if _, err := fmt.Fprintf(b.conn, "%d:%s", len(text), text); err != nil {
		b.t.Fatal(err)
	}
	var answer [4]json.RawMessage
	b.receive(&answer)
	if string(answer[2]) != "null" {
		b.t.Fatalf("thunderbird: %s: %s", name, answer[2])
	}
	return answer[3]
}

// do runs JavaScript inside the program and returns the text that it ends with. MailServices is there, and await.
func (b *thunderbird) do(script string, args ...any) string {
	b.t.Helper()
	script = `const done = arguments[arguments.length-1];
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const account = MailServices.accounts.defaultAccount, root = account?.incomingServer.rootFolder;
const inbox = () => root.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox).QueryInterface(Ci.nsIMsgImapMailFolder);
const url = (go) => new Promise(r => go({OnStartRunningUrl() {}, OnStopRunningUrl(u, rc) { r(rc) }, QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"])}));
(async () => {` + script + `})().then(v => done("" + v), e => done("failed: " + e + " " + (e.stack || "")))`
	var r struct{ Value string }
	if err := json.Unmarshal(b.command("WebDriver:ExecuteAsyncScript", map[string]any{"script": script, "args": append([]any{}, args...), "sandbox": "system"}), &r); err != nil {
		b.t.Fatal(err)
	}
	if strings.HasPrefix(r.Value, "failed:") {
		b.t.Fatal(r.Value)
	}
	return r.Value
}

// account makes the account of a user, as its dialogue does, and trusts the certificate of the house, as a person would.
func (b *thunderbird) account(h *house, user string) {
	b.t.Helper()
	text, err := os.ReadFile(h.cert())
	if err != nil {
		b.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	b.do(`
let [user, password, der, imap, smtp] = arguments;
let cert = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).constructX509FromBase64(der);
let trust = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
for (let port of [imap, smtp]) trust.rememberValidityOverride("127.0.0.1", port, {}, cert, true);
let server = MailServices.accounts.createIncomingServer(user, "127.0.0.1", "imap");
server.port = imap; server.socketType = Ci.nsMsgSocketType.SSL; server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext; server.password = password;
let out = MailServices.outgoingServer.createServer("smtp");
let s = out.QueryInterface(Ci.nsISmtpServer); s.hostname = "127.0.0.1"; s.port = smtp;
out.socketType = Ci.nsMsgSocketType.SSL; out.authMethod = Ci.nsMsgAuthMethod.passwordCleartext; out.username = user; out.password = password;
let id = MailServices.accounts.createIdentity(); id.email = user; id.fullName = "Bob"; id.smtpServerKey = out.key; id.valid = true;
let a = MailServices.accounts.createAccount(); a.addIdentity(id); a.incomingServer = server;
MailServices.accounts.defaultAccount = a;
await url(l => MailServices.imap.discoverAllFolders(server.rootFolder, l, null));
id.fccFolderPickerMode = "1"; id.doFcc = true; id.fccFolderURI = server.rootFolder.getChildNamed("Sent").URI;
`, user, password, base64.StdEncoding.EncodeToString(block.Bytes), h.base+993, h.base+465)
}

// TestThunderbird: a desktop program reads, flags, moves and sends.
func TestThunderbird(t *testing.T) {
	b := newThunderbird(t)
	h := newHouse(t, "a.test", "alice", "bob")
	h.start()
	if err := h.submit("alice@a.test", []string{"bob@a.test"}, letter("alice@a.test", "bob@a.test", "to be read", "wörds of älice")); err != nil {
		t.Fatal(err)
	}
	h.await("bob@a.test", 1)
	b.account(h, "bob@a.test")
	if got := b.do(`return root.descendants.map(f => f.name).sort().join(" ")`); !strings.Contains(got, "Archive Drafts") || !strings.Contains(got, "Sent Trash") {
		t.Errorf("folders: %s", got)
	}

	text := b.do(`
await url(l => inbox().updateFolderWithListener(null, l));
let all = [...inbox().messages], uri = inbox().getUriForMsg(all[0]);
let text = await new Promise(r => { let s = ""; MailServices.messageServiceFromURI(uri).streamMessage(uri, {
  onStartRequest() {}, onStopRequest() { r(s) },
  onDataAvailable(_, stream, at, n) { let b = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream); b.init(stream); s += b.read(n) },
  QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"])}, null, null, false, "", false) });
return all.length + " " + all[0].mime2DecodedSubject + "\n" + text;`)
	if !strings.HasPrefix(text, "1 to be read\n") || !strings.Contains(text, "rds of ") {
		t.Errorf("read: %s", text)
	}

	b.do(`
let m = [...inbox().messages];
inbox().markMessagesFlagged(m, true);
inbox().markMessagesRead(m, true);
let rc = await new Promise(r => MailServices.copy.copyMessages(inbox(), m, root.getChildNamed("Archive"), true, {
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null }, onStopCopy(rc) { r(rc) },
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"])}, null, false));
if (rc != 0) throw rc;`)
	h.await("bob@a.test", 0)
	c := h.imap("bob@a.test")
	defer c.Close()
	if _, err := c.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		found, err := c.Search(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen, imap.FlagFlagged}}, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if len(found.AllSeqNums()) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was moved is not marked as read and flagged")
		}
	}

	b.do(`
let f = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
f.from = "Bob <bob@a.test>"; f.to = arguments[0]; f.subject = "from thunderbird ü"; f.body = "Grüße\r\n"; f.forcePlainText = true;
let p = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
p.type = Ci.nsIMsgCompType.New; p.format = Ci.nsIMsgCompFormat.PlainText; p.identity = account.defaultIdentity; p.composeFields = f;
await MailServices.compose.initCompose(p).sendMsg(Ci.nsIMsgCompDeliverMode.Now, account.defaultIdentity, account.key, null, null);`, "alice@a.test")
	if got := h.await("alice@a.test", 1)[0]; !strings.Contains(got, "from_thunderbird_=C3=BC") || !strings.Contains(got, "Grüße") {
		t.Errorf("sent: %s", got)
	}
	for end := time.Now().Add(patience); len(h.messages("bob@a.test", "Sent")) != 1; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing of it is in Sent")
		}
	}
}
