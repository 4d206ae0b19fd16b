package junk_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// generator makes mail of one kind. {a|b|c} is one of them, # a digit, ~ a name.
type generator struct {
	name     string
	from     []string // display names
	domains  []string // of senders and links
	subjects []string
	lines    []string
	charset  encoding.Encoding // nil: UTF-8
	label    string            // of charset
}

var names = strings.Fields("Anna Bruno Carla David Elena Farid Greta Hugo Irina Jonas Keiko Luis Mei Nadia Oskar Paula Quentin Rosa Samir Tanja")

func expand(r *rand.Rand, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			end := i + strings.IndexByte(s[i:], '}')
			options := strings.Split(s[i+1:end], "|")
			b.WriteString(expand(r, options[r.IntN(len(options))]))
			i = end
		case '#':
			b.WriteByte(byte('0' + r.IntN(10)))
		case '~':
			b.WriteString(names[r.IntN(len(names))])
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func pick(r *rand.Rand, of []string) string { return expand(r, of[r.IntN(len(of))]) }

// make writes one message. How it is built does not depend on whether it is wanted.
func (g *generator) make(r *rand.Rand) []byte {
	domain := pick(r, g.domains)
	lines := make([]string, 0, 8)
	for _, i := range r.Perm(len(g.lines))[:min(len(g.lines), 3+r.IntN(4))] {
		lines = append(lines, expand(r, g.lines[i]))
	}
	text := strings.Join(lines, "\n")
	if r.IntN(2) == 0 {
		text += fmt.Sprintf("\nhttps://%s/%s", domain, strings.ToLower(pick(r, names)))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: from mx%d.example.com by here; Mon, 2 Nov 2026 10:00:00 +0000\r\n", r.IntN(100))
	fmt.Fprintf(&b, "From: %s <%s%d@%s>\r\n", mime.QEncoding.Encode("utf-8", pick(r, g.from)), strings.ToLower(pick(r, names)), r.IntN(90), domain)
	fmt.Fprintf(&b, "To: owner@example.org\r\nSubject: %s\r\n", mime.BEncoding.Encode("utf-8", pick(r, g.subjects)))
	fmt.Fprintf(&b, "Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@%s>\r\nMIME-Version: 1.0\r\n", r.Uint64(), domain)
	html := "<html><body><p>" + strings.ReplaceAll(text, "\n", "</p>\n<p>") + "</p></body></html>"
	switch r.IntN(3) {
	case 0:
		g.part(&b, r, "plain", text)
	case 1:
		g.part(&b, r, "html", html)
	case 2:
		b.WriteString("Content-Type: multipart/alternative; boundary=\"=_x\"\r\n\r\n--=_x\r\n")
		g.part(&b, r, "plain", text)
		b.WriteString("\r\n--=_x\r\n")
		g.part(&b, r, "html", html)
		b.WriteString("\r\n--=_x--\r\n")
	}
	return b.Bytes()
}

func (g *generator) part(b *bytes.Buffer, r *rand.Rand, subtype, text string) {
	label, raw := "utf-8", []byte(text)
	if g.charset != nil && r.IntN(2) == 0 {
		if enc, err := g.charset.NewEncoder().Bytes(raw); err == nil {
			label, raw = g.label, enc
		}
	}
	fmt.Fprintf(b, "Content-Type: text/%s; charset=%s\r\n", subtype, label)
	if r.IntN(2) == 0 {
		b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		s := base64.StdEncoding.EncodeToString(raw)
		for len(s) > 76 {
			b.WriteString(s[:76] + "\r\n")
			s = s[76:]
		}
		b.WriteString(s + "\r\n")
		return
	}
	b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	w.Write(raw) //nolint:errcheck // memory
	w.Close()
	b.WriteString("\r\n")
}

// trainHam and trainSpam teach; testHam and testSpam, whose sentences were written apart from these, examine.
var trainHam = []generator{
	{name: "office en", from: []string{"~ Miller", "~ Novak"}, domains: []string{"northwind.example", "acme.example"},
		subjects: []string{"{minutes|notes} of the {meeting|call} on {Monday|Tuesday|Friday}", "Re: draft of the report", "budget for next quarter", "Re: planning {lunch|meeting} with ~"},
		lines: []string{"Hi ~, thanks for sending the draft, I read it {yesterday|this morning} and left some comments.", "Could we move the meeting to {Tuesday|Thursday} afternoon, because ~ is travelling?",
			"The customer asked for a second version of the proposal before the end of the month.", "I attached the minutes; please tell me if something is missing or wrong.", "Our server was slow again on Monday, so ~ looked at the logs and found a full disk.",
			"Let us talk about the budget when you are back in the office.", "Best regards, ~", "I think the second chapter should come before the first, what do you think?", "The project is a week late, but the tests pass now."}},
	{name: "software en", from: []string{"Build Robot", "~ (code review)"}, domains: []string{"git.example.net", "lists.example.net"},
		subjects: []string{"[project] build ### failed", "Re: [PATCH v#] fix the parser of headers", "[project] issue ###: crash on empty input", "New comment on merge request ###"},
		lines: []string{"The function returns an error when the file is empty; the test expects nil.", "I reviewed the patch: the loop can be simpler and the variable name is misleading.", "Reported by ~, fixed in commit a#f#c#.",
			"You are receiving this because you are subscribed to this thread.", "The build took ## minutes; # tests failed on the old compiler.", "Please rebase your branch on main and run the linter again.",
			"This is a regression since version #.#, bisected to the change of the buffer size.", "Looks good to me, only the documentation is missing."}},
	{name: "shop de", from: []string{"Buchladen am Markt", "Kundenservice Müller"}, domains: []string{"buchladen.example.de", "versand.example.de"}, charset: charmap.ISO8859_15, label: "iso-8859-15",
		subjects: []string{"Ihre Bestellung ##### ist unterwegs", "Rechnung ##### zu Ihrer Bestellung", "Bestätigung Ihrer Bestellung vom ##.##."},
		lines: []string{"Guten Tag ~, vielen Dank für Ihre Bestellung bei uns.", "Ihr Paket wurde heute an den Versand übergeben und kommt voraussichtlich am {Mittwoch|Freitag} an.", "Die Rechnung über ##,## Euro finden Sie im Anhang.",
			"Sie können die Ware innerhalb von vierzehn Tagen zurückschicken.", "Lieferadresse: ~straße ##, ##### Musterstadt.", "Bei Fragen antworten Sie einfach auf diese Nachricht.", "Mit freundlichen Grüßen, Ihr Team vom Buchladen",
			"Die Sendungsnummer lautet ########."}},
	{name: "family fr", from: []string{"~ Dupont", "Maman"}, domains: []string{"poste.example.fr", "famille.example.fr"}, charset: charmap.ISO8859_1, label: "iso-8859-1",
		subjects: []string{"Re: dimanche chez {grand-mère|~}", "photos des vacances", "l'anniversaire de ~"},
		lines: []string{"Coucou ~, nous arrivons samedi vers midi avec les enfants.", "Est-ce que tu peux apporter le gâteau pour l'anniversaire de ~ ?", "Les photos des vacances sont très belles, merci de les avoir envoyées.",
			"Ton père a réparé le vélo, il roule de nouveau.", "Il a plu toute la semaine, alors nous sommes restés à la maison.", "Gros bisous à toute la famille, ~", "N'oublie pas d'appeler ta tante, elle demande de tes nouvelles."}},
	{name: "work ja", from: []string{"田中", "佐藤"}, domains: []string{"shoji.example.jp"}, charset: japanese.ISO2022JP, label: "iso-2022-jp",
		subjects: []string{"会議の議事録", "見積書の件について", "来週の打ち合わせ"},
		lines: []string{"お世話になっております。先日の会議の議事録をお送りします。", "来週の打ち合わせは火曜日の午後でよろしいでしょうか。", "見積書を確認しましたので、修正点をまとめました。", "資料の準備ができましたらご連絡ください。",
			"ご不明な点がございましたらお知らせください。よろしくお願いいたします。", "部長の出張のため、日程を変更したいと思います。"}},
	{name: "friends ru", from: []string{"Ирина", "Сергей"}, domains: []string{"pochta.example.ru"}, charset: charmap.KOI8R, label: "koi8-r",
		subjects: []string{"Re: поездка на дачу", "фотографии с {дня рождения|выходных}", "вопрос по отчёту"},
		lines: []string{"Привет! Мы собираемся на дачу в субботу, поедешь с нами?", "Спасибо за фотографии, дети были очень рады.", "Отчёт я посмотрел, там нужно исправить вторую таблицу.", "Бабушка передаёт привет и спрашивает, когда ты приедешь.",
			"Завтра совещание в десять часов, не опаздывай.", "Книгу я дочитал, могу вернуть на следующей неделе."}},
	{name: "newsletter en", from: []string{"Science Weekly", "City Library"}, domains: []string{"weekly.example.org", "library.example.org"},
		subjects: []string{"This week in science: {fossils|planets|oceans}", "Your loans are due on {Monday|Friday}", "Autumn programme of the library", "Save the date: members' evening and {10|20}% off the yearly pass"},
		lines: []string{"Researchers found fossils of a small mammal in the north of the country.", "The telescope took new pictures of the outer planets.", "The following books are due: please return or renew them online.",
			"Our autumn programme begins in September with a reading by ~ Novak.", "Members get a free coffee at the opening of the exhibition; the offer ends on Sunday.", "To unsubscribe from this newsletter, click here or change your preferences in your account.",
			"The museum is open every day from ten to six; tickets cost $## at the door.", "Read the full article on our web site."}},
	{name: "account notices en", from: []string{"Example Bank", "Your phone company"}, domains: []string{"bank.example", "phone.example"},
		subjects: []string{"Your statement for {May|June|July} is ready", "Your bill of $##.##", "New sign-in to your account", "Payment received"},
		lines: []string{"Your monthly statement is now available in online banking.", "We received your payment of $##.##, thank you.", "Your account was used to sign in from a new device; if this was you, there is nothing to do.",
			"The amount of your bill is $##.## and will be debited on the first of the month.", "We never ask for your password by mail.", "You can change how we notify you in your settings.", "Your contract was renewed for another year."}},
}

var trainSpam = []generator{
	{name: "pills en", from: []string{"Online Pharmacy", "Best Meds"}, domains: []string{"rx####.example.biz", "meds-##.example.top"},
		subjects: []string{"{Cheap|Discount} {viagra|cialis} - no prescription", "Save {70|80|90}% on all medications", "Hot offer: buy pills now"},
		lines: []string{"Buy cheap viagra and cialis online, no prescription needed!", "Lowest prices guaranteed, save up to {70|80}% today.", "Fast worldwide shipping in discreet packages, click here to order now.",
			"Improve your performance in bed and satisfy her every night.", "100% satisfaction guaranteed or your money back.", "Limited time offer: free bonus pills with every order!", "Lose weight without diet or exercise, doctors hate this miracle trick."}},
	{name: "advance fee en", from: []string{"Barrister ~", "Dr. ~ Williams"}, domains: []string{"gmail-office.example.info", "finance##.example.cc"},
		subjects: []string{"URGENT BUSINESS PROPOSAL", "Dear beneficiary, your fund of $##,000,000", "CONFIDENTIAL: inheritance", "You have won the lottery"},
		lines: []string{"Dear friend, I am barrister ~, attorney to a late client who died with his entire family.", "He left the sum of US$#,###,### million dollars in a bank and there is no next of kin.", "I seek your consent to transfer this fund into your account, you will receive ##% as compensation.",
			"This transaction is 100% risk free and must be kept strictly confidential.", "Congratulations! Your email address has won the international lottery, claim your prize now.", "Kindly send your full name, bank account number and telephone number urgently.", "God bless you as I await your urgent reply."}},
	{name: "casino de", from: []string{"Casino Bonus", "Gewinn Zentrale"}, domains: []string{"spiel###.example.bet", "bonus-##.example.click"}, charset: charmap.Windows1252, label: "windows-1252",
		subjects: []string{"Ihr Bonus von ###€ wartet", "Sie haben gewonnen!", "Sofortkredit ohne Schufa"},
		lines: []string{"Sichern Sie sich jetzt ###€ Bonus und ## Freispiele gratis!", "Herzlichen Glückwunsch, Sie haben gewonnen, fordern Sie Ihren Gewinn sofort an.", "Jetzt kostenlos anmelden und groß gewinnen, nur heute!", "Kredit ohne Schufa, Auszahlung in 24 Stunden garantiert.",
			"Verdienen Sie bis zu #### Euro pro Tag bequem von zu Hause aus.", "Klicken Sie hier, bevor das Angebot abläuft.", "Potenzmittel ohne Rezept günstig kaufen, diskreter Versand."}},
	{name: "phishing fr", from: []string{"Service Clients", "Sécurité"}, domains: []string{"verif-compte##.example.top", "secure###.example.info"}, charset: charmap.ISO8859_1, label: "iso-8859-1",
		subjects: []string{"Votre compte a été suspendu", "URGENT : vérifiez vos informations", "Remboursement de ###€ en attente"},
		lines: []string{"Cher client, votre compte a été suspendu suite à une activité inhabituelle.", "Veuillez confirmer vos informations bancaires en cliquant sur le lien ci-dessous.", "Sans réponse de votre part sous 24 heures, votre compte sera définitivement fermé.",
			"Vous avez droit à un remboursement de ###€, cliquez ici pour le recevoir.", "Félicitations, vous avez gagné un iPhone gratuit !", "Gagnez ####€ par jour sans effort depuis chez vous.", "Offre limitée, profitez-en maintenant, satisfait ou remboursé."}},
	{name: "fraud ja", from: []string{"重要なお知らせ", "カスタマーセンター"}, domains: []string{"anzen###.example.xyz"}, charset: japanese.ISO2022JP, label: "iso-2022-jp",
		subjects: []string{"【緊急】アカウントが停止されました", "当選おめでとうございます", "【重要】お支払い方法の確認"},
		lines: []string{"お客様のアカウントは不正利用の疑いにより停止されました。", "下記のリンクをクリックして、クレジットカード情報を確認してください。", "二十四時間以内に確認がない場合、アカウントは永久に停止されます。", "おめでとうございます！高額賞金に当選しました。今すぐ無料で受け取れます。",
			"誰でも簡単に稼げる副業、毎日五万円の収入を保証します。", "期間限定の無料キャンペーン、今すぐ登録してください。"}},
	{name: "bride ru", from: []string{"Знакомства", "Быстрые деньги"}, domains: []string{"love###.example.click"}, charset: charmap.Windows1251, label: "windows-1251",
		subjects: []string{"Заработок без вложений", "Девушки ждут тебя", "Вы выиграли приз"},
		lines: []string{"Заработок в интернете от #### рублей в день без вложений!", "Поздравляем, вы выиграли приз, перейдите по ссылке и получите деньги.", "Горячие девушки из вашего города ждут знакомства сегодня ночью.", "Кредит без отказа за пять минут, только паспорт.",
			"Казино дарит бонус каждому новому игроку, жми сюда прямо сейчас!", "Только сегодня скидка ##%, успей купить со скидкой."}},
	{name: "invoice zh", from: []string{"发票代理", "财务"}, domains: []string{"fapiao###.example.top"}, charset: simplifiedchinese.GB18030, label: "gb18030",
		subjects: []string{"代开发票", "优惠代理各类发票", "中奖通知"},
		lines:    []string{"本公司长期代开各类正规发票，点数优惠，欢迎来电咨询。", "恭喜您中奖，奖金十万元，请点击链接领取。", "低息贷款，无需抵押，当天放款。", "网上兼职日赚千元，轻松赚钱。", "联系电话微信同号，保密可靠，先验后付款。"}},
	{name: "phishing en", from: []string{"Account Security", "Mail Administrator"}, domains: []string{"verify-account##.example.top", "login-####.example.xyz"},
		subjects: []string{"Your account has been {suspended|limited}", "ACTION REQUIRED: verify your mailbox", "Your parcel is waiting: pay $#.##", "Crypto: double your bitcoin today"},
		lines: []string{"Dear customer, we detected unusual activity and your account has been suspended.", "Click the link below to verify your identity within 24 hours or your account will be permanently closed.", "Your mailbox is full, confirm your password now to avoid losing messages.",
			"Your parcel could not be delivered, pay the fee of $#.## to receive it.", "Invest $### in bitcoin today and earn guaranteed profit of ###% every week.", "Work from home and make $#### a day, no experience needed, act now!", "This is your last warning, failure to comply leads to termination."}},
}
