import { useState } from "preact/hooks";
import type { LeftOutTool } from "../types.ts";
import { Button, Icon } from "../ui/index.ts";
import { type Choice, MAX_TOOLS, matches } from "./draft.ts";

export interface Chosen {
  allow: string[];
  approval: string[];
}

interface ChoiceListProps {
  label: string;
  choices: Choice[];
  leftOut: LeftOutTool[];
  /** Whether there is more than is listed. */
  isCut: boolean;
  chosen: Chosen;
  onChosen: (chosen: Chosen) => void;
  /** The choice that is being tried. */
  tried: string | undefined;
  onTry: (name: string) => void;
}

/** Tools or operations with checkboxes, a search, and what was left out. */
export function ChoiceList({ label, choices, leftOut, isCut, chosen, onChosen, tried, onTry }: ChoiceListProps) {
  const [search, setSearch] = useState("");
  const shown = choices.filter((choice) => matches(choice, search));
  const names = shown.map(({ name }) => name);
  const toggle = (list: string[], name: string, on: boolean) => (on ? [...list, name] : list.filter((other) => other !== name));
  return (
    <fieldset class="choices">
      <legend>{label}</legend>
      <div class="choices-head">
        {choices.length > 8 && (
          <div class="search">
            <Icon name="search" />
            <input
              type="search"
              aria-label="Search"
              placeholder="Name, path or description"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          </div>
        )}
        <Button small onClick={() => onChosen({ ...chosen, allow: [...new Set([...chosen.allow, ...names])] })}>
          {search === "" ? "Choose all" : "Choose all shown"}
        </Button>
        <Button small onClick={() => onChosen({ ...chosen, allow: chosen.allow.filter((name) => !names.includes(name)) })}>
          {search === "" ? "Choose none" : "Choose none of these"}
        </Button>
        <span class="hint" role="status">
          {chosen.allow.length} of {choices.length} chosen
          {chosen.allow.length > MAX_TOOLS && `. An agent can have at most ${MAX_TOOLS} tools`}
        </span>
      </div>
      <ul class="choice-rows">
        {shown.map((choice) => (
          <ChoiceRow
            key={choice.name}
            choice={choice}
            isChosen={chosen.allow.includes(choice.name)}
            needsApproval={chosen.approval.includes(choice.name)}
            isTried={tried === choice.name}
            onChosen={(on) => onChosen({ ...chosen, allow: toggle(chosen.allow, choice.name, on) })}
            onApproval={(on) => onChosen({ ...chosen, approval: toggle(chosen.approval, choice.name, on) })}
            onTry={() => onTry(choice.name)}
          />
        ))}
        {shown.length === 0 && <li class="dim">{choices.length === 0 ? "Nothing can be used." : "Nothing matches."}</li>}
      </ul>
      {isCut && <p class="hint">There is more, which is not listed.</p>}
      <LeftOut leftOut={leftOut} />
    </fieldset>
  );
}

interface ChoiceRowProps {
  choice: Choice;
  isChosen: boolean;
  needsApproval: boolean;
  isTried: boolean;
  onChosen: (on: boolean) => void;
  onApproval: (on: boolean) => void;
  onTry: () => void;
}

function ChoiceRow({ choice: { name, detail, description }, isChosen, needsApproval, isTried, onChosen, onApproval, onTry }: ChoiceRowProps) {
  return (
    <li class="choice-row">
      <label class="choice-name">
        <input type="checkbox" checked={isChosen} onChange={(event) => onChosen(event.currentTarget.checked)} />
        <span>
          <code>{name}</code>
          {detail && <span class="choice-detail mono">{detail}</span>}
          {description && <span class="choice-about">{firstLine(description)}</span>}
        </span>
      </label>
      {isChosen && (
        <label class="choice-approval">
          <input
            type="checkbox"
            checked={needsApproval}
            aria-label={`${name} needs approval`}
            onChange={(event) => onApproval(event.currentTarget.checked)}
          />
          Needs approval
        </label>
      )}
      <Button small kind="quiet" aria-label={`Try ${name}`} aria-pressed={isTried} onClick={onTry}>
        Try
      </Button>
    </li>
  );
}

function firstLine(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}

function LeftOut({ leftOut }: { leftOut: LeftOutTool[] }) {
  if (leftOut.length === 0) return null;
  return (
    <details class="how-to">
      <summary>{leftOut.length} left out</summary>
      <ul class="left-out">
        {leftOut.map(({ name, reason }, at) => (
          <li key={at}>
            <code>{name}</code>: {reason}
          </li>
        ))}
      </ul>
    </details>
  );
}
