import type { VNode } from "preact";
import { useState } from "preact/hooks";

import { formatBytes } from "../format.ts";
import { JsonTree } from "../render/json.tsx";
import { type JsonNode, prettyJson } from "../render/json-text.ts";
import { CopyButton } from "../ui/index.ts";
import { ViewSwitch } from "./switch.tsx";

const VIEWS = [["tree", "Tree"], ["raw", "Raw"]] as const;

/** In characters. Longer text can be copied, but is not fully shown. */
const RAW_LIMIT = 1024 * 1024;

/** A task's payload, with its digits and the order of its names preserved. */
export function Payload({ payload, bytes }: { payload: JsonNode; bytes: number }): VNode {
  const [view, setView] = useState<"tree" | "raw">("tree");
  const text = prettyJson(payload);
  return (
    <>
      <div class="view-bar">
        <ViewSwitch label="Show the payload" views={VIEWS} view={view} onView={setView} />
        <span class="hint">{formatBytes(bytes)}</span>
        <CopyButton text={text} what="payload" />
      </div>
      {view === "tree"
        ? <JsonTree value={payload} label="Payload" />
        : <pre class="raw-text" tabIndex={0} role="region" aria-label="Payload as text">{text.slice(0, RAW_LIMIT)}</pre>}
      {view === "raw" && text.length > RAW_LIMIT && <p class="cut-note">Only the beginning is shown. Copy includes the whole payload.</p>}
    </>
  );
}
