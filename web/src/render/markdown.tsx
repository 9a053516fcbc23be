// Renders an agent's Markdown answer as elements, never with innerHTML. HTML is shown as
// text, and nothing is fetched.
import type { Token, Tokens } from "marked";
import { Fragment, h, type ComponentChildren, type VNode } from "preact";

import { decodeReferences, markdownTokens, safeLink } from "./tokens.ts";

/** Blocks and emphasis nested deeper than this are shown as their source. */
const DEPTH_LIMIT = 40;

/** The level of the first heading, below the page's own headings. */
const FIRST_HEADING = 3;

/** Shows `source` as plain text if its blocks are nested too deeply. */
export function Markdown({ source }: { source: string }): VNode {
  const tokens = markdownTokens(source);
  if (tokens === null) return <pre class="md md-plain">{source}</pre>;
  return <div class="md">{renderAll(tokens, 0)}</div>;
}

function renderAll(tokens: readonly Token[] | undefined, depth: number): ComponentChildren {
  return (tokens ?? []).map((token, index) => <Fragment key={index}>{render(token, depth)}</Fragment>);
}

function render(token: Token, depth: number): ComponentChildren {
  if (depth > DEPTH_LIMIT) return token.raw;
  return renderBlock(token as Tokens.Generic, depth + 1) ?? renderInline(token as Tokens.Generic, depth + 1) ?? token.raw;
}

function renderBlock(token: Tokens.Generic, depth: number): ComponentChildren {
  switch (token.type) {
    case "space":
    case "def":
      return "";
    case "heading":
      return h(`h${Math.min(token.depth + FIRST_HEADING - 1, 6)}` as "h3", {}, renderAll(token.tokens, depth));
    case "paragraph":
      return <p>{renderAll(token.tokens, depth)}</p>;
    case "blockquote":
      return <blockquote>{renderAll(token.tokens, depth)}</blockquote>;
    case "code":
      return <CodeBlock code={token.text} language={token.lang} />;
    case "hr":
      return <hr />;
    case "list":
      return renderList(token as Tokens.List, depth);
    case "table":
      return renderTable(token as Tokens.Table, depth);
    case "html":
      return token.block ? <p class="md-source">{token.raw.trimEnd()}</p> : token.raw;
    default:
      return null;
  }
}

function renderInline(token: Tokens.Generic, depth: number): ComponentChildren {
  switch (token.type) {
    case "text":
      return token.tokens ? renderAll(token.tokens, depth) : decodeReferences(token.text);
    case "escape":
      return token.text;
    case "strong":
      return <strong>{renderAll(token.tokens, depth)}</strong>;
    case "em":
      return <em>{renderAll(token.tokens, depth)}</em>;
    case "del":
      return <del>{renderAll(token.tokens, depth)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "checkbox":
      return <span class="md-check" role="img" aria-label={token.checked ? "done" : "to do"}>{token.checked ? "☑ " : "☐ "}</span>;
    case "link":
      return renderLink(token as Tokens.Link, depth);
    case "image":
      return renderImage(token as Tokens.Image);
    default:
      return null;
  }
}

function renderLink(token: Tokens.Link, depth: number): ComponentChildren {
  const href = safeLink(token.href);
  if (href === null) return token.raw;
  return <OutsideLink href={href}>{renderAll(token.tokens, depth)}</OutsideLink>;
}

/** An image becomes a link, because loading it would send the reader's address to its server. */
function renderImage(token: Tokens.Image): ComponentChildren {
  const href = safeLink(token.href);
  if (href === null) return token.raw;
  return <OutsideLink href={href}>{`Image: ${decodeReferences(token.text) || href}`}</OutsideLink>;
}

function OutsideLink({ href, children }: { href: string; children: ComponentChildren }): VNode {
  return <a href={href} rel="noopener noreferrer nofollow" target="_blank" title={href}>{children}</a>;
}

function renderList(list: Tokens.List, depth: number): VNode {
  const items = list.items.map((item, index) => (
    <li key={index} class={item.task ? "md-task" : undefined}>{renderAll(item.tokens, depth)}</li>
  ));
  if (!list.ordered) return <ul>{items}</ul>;
  return <ol start={typeof list.start === "number" ? list.start : 1}>{items}</ol>;
}

function renderTable(table: Tokens.Table, depth: number): VNode {
  const cells = (row: Tokens.TableCell[], tag: "th" | "td") =>
    row.map((cell, index) => h(tag, { key: index, class: cell.align ? `align-${cell.align}` : undefined }, renderAll(cell.tokens, depth)));
  return (
    <div class="md-scroll" tabIndex={0} role="region" aria-label="Table in the answer">
      <table>
        <thead><tr>{cells(table.header, "th")}</tr></thead>
        <tbody>{table.rows.map((row, index) => <tr key={index}>{cells(row, "td")}</tr>)}</tbody>
      </table>
    </div>
  );
}

function CodeBlock({ code, language }: { code: string; language?: string | undefined }): VNode {
  const name = /^[\w+#.-]{1,20}/.exec(language ?? "")?.[0];
  return (
    <figure class="md-code">
      {name && <figcaption>{name}</figcaption>}
      <pre tabIndex={0}><code>{code}</code></pre>
    </figure>
  );
}
