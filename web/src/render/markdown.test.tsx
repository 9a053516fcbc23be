import assert from "node:assert/strict";
import { test } from "node:test";

import { renderToString } from "preact-render-to-string";

import { Markdown } from "./markdown.tsx";
import { beginning, decodeReferences, MARKDOWN_LIMIT, safeLink } from "./tokens.ts";

const html = (source: string): string => renderToString(<Markdown source={source} />);

test("blocks become elements, with headings below the page's own", () => {
  const shown = html("# Title\n\nSome *text* with `code`.\n\n- one\n- two\n\n> said\n\n---\n\n3. three");
  for (const part of [
    "<h3>Title</h3>", "<p>Some <em>text</em> with <code>code</code>.</p>", "<ul><li>one</li><li>two</li></ul>",
    "<blockquote><p>said</p></blockquote>", "<hr/>", '<ol start="3"><li>three</li></ol>',
  ]) assert.ok(shown.includes(part), `${part} in ${shown}`);
  assert.ok(html("###### deep").includes("<h6>deep</h6>"));
});

test("a task list has labels for done and open items", () => {
  const shown = html("- [x] done\n- [ ] open");
  assert.match(shown, /aria-label="done".*done/);
  assert.match(shown, /aria-label="to do".*open/);
});

test("a table keeps its alignment and can be scrolled by keyboard", () => {
  const shown = html("| a | b |\n|---|--:|\n| 1 | 2 |");
  assert.match(shown, /tabindex="0"/i);
  assert.ok(shown.includes('<td class="align-right">2</td>'), shown);
});

test("HTML in an answer is shown as text, at every position", () => {
  for (const hostile of [
    "<script>alert(1)</script>", "text <img src=x onerror=alert(1)> text", "<svg/onload=alert(1)>",
    "# <iframe src=javascript:alert(1)>", "| <b>a</b> |\n|---|\n| <script>1</script> |", "`<b>`", "```html\n<script>\n```",
    "&lt;script&gt;", "- <details open ontoggle=alert(1)>", "<style>*{display:none}</style>",
  ]) {
    const shown = html(hostile);
    assert.doesNotMatch(shown, /<(script|img|svg|iframe|style|details|b)[\s/>]/i, hostile);
    assert.match(shown, /&lt;/, hostile);
  }
});

test("only web and mail links become links, without a referrer", () => {
  const link = html("[ok](https://example.com/a?b=c)");
  assert.match(link, /href="https:\/\/example\.com\/a\?b=c"/);
  assert.match(link, /rel="noopener noreferrer nofollow"/);
  for (const hostile of [
    "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](&#106;avascript:alert(1))", "[x](java&#x0A;script:alert(1))",
    "[x](data:text/html,<script>)", "[x](vbscript:x)", "[x](file:///etc/passwd)", "[x](//evil.example)", "[x](/console)", "<javascript:alert(1)>",
  ]) assert.doesNotMatch(html(hostile), /<a /, hostile);
});

test("an image becomes a link and is not fetched", () => {
  const shown = html("![a cat](https://example.com/cat.png)");
  assert.doesNotMatch(shown, /<img/);
  assert.match(shown, /<a href="https:\/\/example\.com\/cat\.png".*Image: a cat<\/a>/);
});

test("character references are decoded, except in code", () => {
  assert.equal(decodeReferences("a &amp; b &#8364; &#x20ac; &unknown; &constructor; &#0; &#xd800;"), "a & b € € &unknown; &constructor; \ufffd \ufffd");
  assert.ok(html("5 &lt; 6, `&lt;`").includes("5 &lt; 6, <code>&amp;lt;</code>"));
});

test("an answer that is nested too deeply is shown as plain text", () => {
  const nested = ">".repeat(MARKDOWN_LIMIT);
  assert.match(html(nested), /^<pre class="md md-plain">/);
  assert.doesNotThrow(() => html("> ".repeat(200) + "deep"));
  assert.ok(html("> ".repeat(200) + "deep").includes("deep"));
});

test("an answer that is built to be slow is parsed in bounded time", () => {
  const paragraph = "_a_".repeat(MARKDOWN_LIMIT / 3);
  const paragraphs = `${"_a_".repeat(2700)}\n\n`.repeat(12);
  for (const source of [paragraph, paragraphs]) {
    const before = performance.now();
    html(source);
    assert.ok(performance.now() - before < 5000, "without the limit, the first source takes 12 s on the same machine");
  }
});

test("the beginning of a text ends at a line, never inside a character", () => {
  assert.equal(beginning("short", 10), "short");
  assert.equal(beginning("12345678\n01234", 10), "12345678");
  assert.equal(beginning("123456789😀", 10), "123456789");
  assert.equal(beginning("12345678😀0", 10), "12345678😀");
});

test("a link must be absolute", () => {
  assert.equal(safeLink("https://a.example/%20"), "https://a.example/%20");
  assert.equal(safeLink("mailto:a@b.example"), "mailto:a@b.example");
  assert.equal(safeLink("a.html"), null);
});
