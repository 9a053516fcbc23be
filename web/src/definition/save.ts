// What an editor of a definition keeps: the form, what is wrong with it, and whether
// it says anything that the server does not know yet.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, api, asApiError } from "../api.ts";
import { useLeaveGuard } from "../router.ts";
import type { Agent, Definition, Json } from "../types.ts";
import { ask, toast } from "../ui/index.ts";
import { type FieldErrors, type Form, changesOf, fieldOf, readForm, refusalInWords, toForm } from "./form.ts";
import { hasNullMember } from "./merge-patch.ts";

export interface Editor {
  form: Form;
  set: (change: Partial<Form>) => void;
  errors: FieldErrors;
  /** A refusal that is about no one field. */
  refusal: ApiError | undefined;
  dirty: boolean;
  busy: boolean;
  save: () => Promise<void>;
  discard: () => void;
  /** Around all fields, so that the first wrong one can be gone to. */
  place: { current: HTMLFormElement | null };
}

/** Edits what an agent is; saving sends what has changed and nothing else. */
export function useAgentEditor(agent: Agent, onChanged: (agent: Agent) => void): Editor {
  const editor = useEditor(toForm(agent), async (form) => {
    const reading = readForm(form, agent);
    if (!reading.ok) throw new Refused(reading.errors);
    const saved = await change(agent, reading.definition);
    onChanged(saved);
    toast("Saved");
    return toForm(saved);
  });
  return editor;
}

/** An editor over `start`; `send` answers how the form stands afterwards. */
export function useEditor(start: Form, send: (form: Form) => Promise<Form>): Editor {
  const [kept, setKept] = useState(start);
  const [form, setForm] = useState(start);
  const [errors, setErrors] = useState<FieldErrors>({});
  const [refusal, setRefusal] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const place = useRef<HTMLFormElement>(null);
  const dirty = JSON.stringify(form) !== JSON.stringify(kept);
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
      setKept(after);
      setForm(after);
    } catch (error) {
      if (error instanceof Refused) setErrors(error.errors);
      else tell(asApiError(error), setErrors, setRefusal);
    }
    setBusy(false);
  }
  const set = useCallback((change: Partial<Form>) => setForm((was) => ({ ...was, ...change })), []);
  const discard = useCallback(() => {
    setForm(kept);
    setErrors({});
    setRefusal(undefined);
  }, [kept]);
  return { form, set, errors, refusal, dirty, busy, save, discard, place };
}

/** Refused here already, field by field. */
export class Refused extends Error {
  constructor(readonly errors: FieldErrors) {
    super("The form is not complete");
  }
}

function change(agent: Agent, definition: Definition): Promise<Agent> | Agent {
  const patch = changesOf(agent, definition);
  if (patch === undefined) return agent;
  if (patch["output_schema"] && hasNullMember(definition.output_schema)) {
    throw new Refused({
      output_schema: 'A change cannot send a member that is null: write {"enum": [null]} for {"const": null}.',
    });
  }
  return api.patch<Agent>(`/api/agents/${agent.agent_id}`, patch satisfies Record<string, Json>);
}

const FIELDS = ["name", "prompt", "model", "tools", "sources", "output_schema", "limits", "webhook_token"];

function tell(problem: ApiError, setErrors: (errors: FieldErrors) => void, setRefusal: (problem: ApiError) => void) {
  const field = problem.status === 400 || problem.status === 409 ? fieldOf(problem.message) : undefined;
  if (field && FIELDS.some((name) => field === name || field.startsWith(`${name}.`))) {
    setErrors({ [field]: refusalInWords(problem.message) });
  } else {
    setRefusal(problem);
  }
}

function askToLeave(): Promise<boolean> {
  return ask("Leave without saving?", "What you changed on this page is lost.", "Leave", "Stay here");
}

function goToFirstWrong(place: HTMLElement | null) {
  const wrong = place?.querySelector<HTMLElement>("[aria-invalid]");
  wrong?.focus({ preventScroll: true });
  wrong?.scrollIntoView({ block: "center" });
}
