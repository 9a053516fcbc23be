// A foldable view of a JSON value. Large values are folded, and long ones are added to
// the page in parts.
import type { ComponentChildren, VNode } from "preact";
import { useState } from "preact/hooks";

import { formatCount } from "../format.ts";
import type { JsonEntry, JsonNode } from "./json-text.ts";

/** Entries of one object or array that are shown at a time. */
const PAGE = 100;

/** Characters of a string that are shown before the user expands it. */
const STRING_LIMIT = 600;

/** The most entries of a value that is initially unfolded, by depth. */
const UNFOLDED = [Infinity, 20, 8];

export function JsonTree({ value, label }: { value: JsonNode; label: string }): VNode {
  return <div class="json" role="group" aria-label={label}><Value value={value} depth={0} /></div>;
}

type ValueProps = { value: JsonNode; depth: number; name?: string };

function Value({ value, depth, name }: ValueProps): VNode {
  const before = name === undefined ? null : <><span class="json-key">{name}</span><Mark>: </Mark></>;
  if (value.kind === "object" && value.entries.length > 0) {
    return <Fold brackets={["{", "}"]} entries={value.entries} unit="field" depth={depth} before={before} />;
  }
  if (value.kind === "array" && value.items.length > 0) {
    const entries = value.items.map((item) => ({ rawKey: "", key: "", value: item }));
    return <Fold brackets={["[", "]"]} entries={entries} unit="item" depth={depth} before={before} />;
  }
  return <div class="json-line">{before}<Scalar value={value} /></div>;
}

function Scalar({ value }: { value: JsonNode }): VNode {
  if (value.kind === "object") return <Mark>{"{}"}</Mark>;
  if (value.kind === "array") return <Mark>[]</Mark>;
  if (value.kind === "string") return <LongText raw={value.raw} />;
  return <span class={`json-${value.kind}`}>{value.raw}</span>;
}

function LongText({ raw }: { raw: string }): VNode {
  const [whole, setWhole] = useState(raw.length <= STRING_LIMIT * 1.2);
  if (whole) return <span class="json-string">{raw}</span>;
  return (
    <span class="json-string">
      {raw.slice(0, STRING_LIMIT)}…{" "}
      <button type="button" class="link-button" onClick={() => setWhole(true)}>
        show all {formatCount(raw.length)} characters
      </button>
    </span>
  );
}

type FoldProps = { brackets: [string, string]; entries: JsonEntry[]; unit: string; depth: number; before: ComponentChildren };

function Fold({ brackets, entries, unit, depth, before }: FoldProps): VNode {
  const [open, setOpen] = useState(entries.length <= (UNFOLDED[depth] ?? 0));
  const count = `${formatCount(entries.length)} ${unit}${entries.length === 1 ? "" : "s"}`;
  return (
    <details class="json-fold" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {before}<Mark>{brackets[0]}</Mark>
        <span class="json-count">{open ? count : `… ${count} `}</span>
        {!open && <Mark>{brackets[1]}</Mark>}
      </summary>
      {open && <Entries entries={entries} depth={depth + 1} />}
      {open && <Mark>{brackets[1]}</Mark>}
    </details>
  );
}

function Entries({ entries, depth }: { entries: JsonEntry[]; depth: number }): VNode {
  const [shown, setShown] = useState(PAGE);
  const rest = entries.length - shown;
  return (
    <div class="json-entries">
      {entries.slice(0, shown).map((entry, index) => (
        <Value key={index} value={entry.value} depth={depth} {...(entry.rawKey && { name: entry.rawKey })} />
      ))}
      {rest > 0 && (
        <button type="button" class="link-button" onClick={() => setShown(shown + PAGE)}>
          show {formatCount(Math.min(PAGE, rest))} more of {formatCount(rest)}
        </button>
      )}
    </div>
  );
}

function Mark({ children }: { children: ComponentChildren }): VNode {
  return <span class="json-mark">{children}</span>;
}
