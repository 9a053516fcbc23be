// The state of a definition's editor: the form, its errors, and whether it has unsaved
// changes.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, api, asApiError } from "../api.ts";
import { useLeaveGuard } from "../router.ts";
import type { Agent, Definition, Json } from "../types.ts";
import { ask, toast } from "../ui/index.ts";
import { type FieldErrors, type Form, changesOf, fieldOf, parseForm, refusalInWords, toForm } from "./form.ts";
import { hasNullMember } from "./merge-patch.ts";

export interface Editor {
  form: Form;
  set: (change: Partial<Form>) => void;
  errors: FieldErrors;
  /** An error that does not belong to one field. */
  refusal: ApiError | undefined;
  dirty: boolean;
  busy: boolean;
  save: () => Promise<void>;
  discard: () => void;
  /** The form element, in which the first wrong field gets the focus. */
  place: { current: HTMLFormElement | null };
}

/** Edits an agent's definition. Saving sends only the changed fields. */
export function useAgentEditor(agent: Agent, onChanged: (agent: Agent) => void): Editor {
  const editor = useEditor(toForm(agent), async (form) => {
    const parsed = parseForm(form, agent);
    if (!parsed.ok) throw new InvalidForm(parsed.errors);
    const saved = await change(agent, parsed.definition);
    onChanged(saved);
    toast("Saved");
    return toForm(saved);
  });
  return editor;
}

/** An editor that begins with `start`; `send` returns the form after saving. */
export function useEditor(start: Form, send: (form: Form) => Promise<Form>): Editor {
  const [saved, setSaved] = useState(start);
  const [form, setForm] = useState(start);
  const [errors, setErrors] = useState<FieldErrors>({});
  const [refusal, setRefusal] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const place = useRef<HTMLFormElement>(null);
  const dirty = JSON.stringify(form) !== JSON.stringify(saved);
  useLeaveGuard(dirty, askToLeave);
  useEffect(() => {
    if (Object.keys(errors).length > 0) goToFirstWrong(place.current);
  }, [errors]);

  async function save() {
    if (busy) return;
    setBusy(true);
    setRefusal(undefined);
    setErrors({});
    try {
      const after = await send(form);
      setSaved(after);
      setForm(after);
    } catch (error) {
      if (error instanceof InvalidForm) setErrors(error.errors);
      else showProblem(asApiError(error), setErrors, setRefusal);
    }
    setBusy(false);
  }
  const set = useCallback((change: Partial<Form>) => setForm((was) => ({ ...was, ...change })), []);
  const discard = useCallback(() => {
    setForm(saved);
    setErrors({});
    setRefusal(undefined);
  }, [saved]);
  return { form, set, errors, refusal, dirty, busy, save, discard, place };
}

/** The form has errors, so it was not sent. */
export class InvalidForm extends Error {
  constructor(readonly errors: FieldErrors) {
    super("The form is not complete");
  }
}

function change(agent: Agent, definition: Definition): Promise<Agent> | Agent {
  const patch = changesOf(agent, definition);
  if (patch === undefined) return agent;
  if (patch["output_schema"] && hasNullMember(definition.output_schema)) {
    throw new InvalidForm({
      output_schema: 'A change cannot contain a null member. Write {"enum": [null]} instead of {"const": null}.',
    });
  }
  return api.patch<Agent>(`/api/agents/${agent.agent_id}`, patch satisfies Record<string, Json>);
}

const FIELDS = ["name", "prompt", "model", "tools", "sources", "output_schema", "limits", "webhook_token"];

function showProblem(problem: ApiError, setErrors: (errors: FieldErrors) => void, setRefusal: (problem: ApiError) => void) {
  const field = problem.status === 400 || problem.status === 409 ? fieldOf(problem.message) : undefined;
  if (field && FIELDS.some((name) => field === name || field.startsWith(`${name}.`))) {
    setErrors({ [field]: refusalInWords(problem.message) });
  } else {
    setRefusal(problem);
  }
}

function askToLeave(): Promise<boolean> {
  return ask("Leave without saving?", "Your changes on this page will be lost.", "Leave", "Stay here");
}

function goToFirstWrong(place: HTMLElement | null) {
  const wrong = place?.querySelector<HTMLElement>("[aria-invalid]");
  wrong?.focus({ preventScroll: true });
  wrong?.scrollIntoView({ block: "center" });
}
