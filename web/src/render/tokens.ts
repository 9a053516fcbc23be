// Parses Markdown to tokens, within limits, because an agent's answer is untrusted text.
import { Lexer, type Token } from "marked";

/** In characters. Only the beginning of a longer answer is parsed as Markdown. */
export const MARKDOWN_LIMIT = 100 * 1024;

/** In characters. Marked's inline rules take quadratic time, so a longer paragraph stays
 * plain text. At this length, the slowest known input (`_a__a_…`) takes 80 ms. */
const PARAGRAPH_LIMIT = 8 * 1024;

/** The tokens of `source`, or `null` if its blocks are nested too deeply. */
export function markdownTokens(source: string): Token[] | null {
  try {
    const lexer = new Lexer({ gfm: true, breaks: true });
    lexer.blockTokens(source.replace(/\r\n?/g, "\n"), lexer.tokens);
    for (const { src, tokens } of lexer.inlineQueue) {
      if (src.length <= PARAGRAPH_LIMIT) lexer.inlineTokens(src, tokens);
      else tokens.push({ type: "text", raw: src, text: src });
    }
    return lexer.tokens;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** The beginning of `text`, at most `limit` characters. Ends at a line break if there is one
 * in the second half, and never inside a character. */
export function beginning(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const line = text.lastIndexOf("\n", limit);
  if (line > limit / 2) return text.slice(0, line);
  const last = text.charCodeAt(limit - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? limit - 1 : limit);
}

const NAMED: Record<string, string> = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™",
  hellip: "…", mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«",
  raquo: "»", bull: "•", middot: "·", times: "×", divide: "÷", plusmn: "±", deg: "°", euro: "€",
  pound: "£", yen: "¥", cent: "¢", sect: "§", para: "¶", rarr: "→", larr: "←", harr: "↔", ne: "≠",
  le: "≤", ge: "≥", infin: "∞", check: "✓",
};

/** Decodes character references; unknown ones do not change. */
export function decodeReferences(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));/g, (whole, decimal, hex, name) => {
    if (name) return Object.hasOwn(NAMED, name) ? (NAMED[name] ?? whole) : whole;
    const point = decimal ? parseInt(decimal, 10) : parseInt(hex, 16);
    const real = point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point < 0xe000);
    return real ? String.fromCodePoint(point) : "\ufffd";
  });
}

/** `href` as an absolute URL with an allowed scheme, or `null`. */
export function safeLink(href: string): string | null {
  let url: URL;
  try {
    url = new URL(decodeReferences(href));
  } catch {
    return null;
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
}
