// An agent's answer as Markdown, as JSON or as plain text.
import type { VNode } from "preact";
import { useMemo, useState } from "preact/hooks";

import { formatCount, plural } from "../format.ts";
import { JsonTree } from "../render/json.tsx";
import { type JsonNode, tryParseJson } from "../render/json-text.ts";
import { Markdown } from "../render/markdown.tsx";
import { beginning, MARKDOWN_LIMIT } from "../render/tokens.ts";
import { Button, CopyButton } from "../ui/index.ts";
import { ViewSwitch } from "./switch.tsx";

const VIEWS = [["shown", "Formatted"], ["raw", "Raw"]] as const;

export function AnswerText({ answer }: { answer: string }): VNode {
  const [view, setView] = useState<"shown" | "raw">("shown");
  const json = useMemo(() => structured(answer), [answer]);
  const start = useMemo(() => beginning(answer, MARKDOWN_LIMIT), [answer]);
  const cut = json === null && start.length < answer.length;
  return (
    <div class="answer">
      <div class="view-bar">
        <ViewSwitch label="Show the answer" views={VIEWS} view={view} onView={setView} />
        <CopyButton text={answer} what="answer" />
      </div>
      {view === "raw" && <pre class="raw-text" tabIndex={0} role="region" aria-label="Answer as text">{answer}</pre>}
      {view === "shown" && (json ? <JsonTree value={json} label="Answer as JSON" /> : <Markdown source={start} />)}
      {view === "shown" && cut && (
        <p class="cut-note">
          The answer has {plural(answer.length, "character")}; the first {formatCount(start.length)} are shown.{" "}
          <Button small onClick={() => setView("raw")}>Show all as text</Button>
        </p>
      )}
    </div>
  );
}

/** The parsed answer, if the whole answer is a JSON object or array. */
function structured(answer: string): JsonNode | null {
  if (!/^\s*[{[]/.test(answer)) return null;
  return tryParseJson(answer);
}
