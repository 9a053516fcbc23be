// Converts an agent's definition to a form, in which every field is text, and back.
import { JsonError, parseJson } from "../render/json-text.ts";
import type { Agent, Definition, InlineSource, Json, Limits, Model, Provider } from "../types.ts";
import { mergePatch } from "./merge-patch.ts";
import { isUsed, providerInfo } from "./providers.ts";

export type KeyFrom = "none" | "stored" | "typed" | "secret";

export interface Form {
  name: string;
  enabled: boolean;
  prompt: string;
  /** Empty: the deployment's default model. */
  provider: Provider | "";
  baseUrl: string;
  modelName: string;
  keyFrom: KeyFrom;
  /** Whether the secret store has a key of the agent's own. */
  hasKey: boolean;
  key: string;
  secret: string;
  priceInput: string;
  priceOutput: string;
  tools: string;
  schema: string;
  limits: Record<keyof Limits, string>;
  sources: InlineSource[];
  /** Of a new agent: the token of its existing webhook URL in another system. */
  webhookToken: string;
}

/** Messages by field, named as in the definition: `model.base_url`. */
export type FieldErrors = Record<string, string>;

export const LIMITS: { name: keyof Limits; label: string; max: number; usual: string; hint: string }[] = [
  { name: "timeout_seconds", label: "Time limit, seconds", max: 840, usual: "240", hint: "For all attempts of a task together. 1 to 840." },
  { name: "max_turns", label: "Turns", max: 100, usual: "12", hint: "Model calls in one run. 1 to 100." },
  { name: "max_output_tokens", label: "Tokens per turn", max: 1_000_000, usual: "4096", hint: "Output tokens of one model call." },
  { name: "max_total_tokens", label: "Tokens per run", max: 100_000_000, usual: "500000", hint: "Input and output tokens of all turns together." },
  { name: "max_concurrent_runs", label: "Concurrent runs", max: 100, usual: "", hint: "More tasks wait in the queue. Empty: no limit." },
  { name: "triggers_per_minute", label: "Triggers per minute", max: 60_000, usual: "", hint: "More triggers get status 429. Empty: no limit." },
];

export const EMPTY_FORM: Form = {
  name: "",
  enabled: true,
  prompt: "",
  provider: "",
  baseUrl: "",
  modelName: "",
  keyFrom: "none",
  hasKey: false,
  key: "",
  secret: "",
  priceInput: "",
  priceOutput: "",
  tools: "[]",
  schema: "",
  limits: Object.fromEntries(LIMITS.map(({ name, usual }) => [name, usual])) as Form["limits"],
  sources: [],
  webhookToken: "",
};

export function toForm(agent: Agent): Form {
  const { model } = agent;
  const key = model?.api_key;
  const secret = key && typeof key === "object" ? key.secret : "";
  const own = secret.startsWith("agents/");
  const limits = LIMITS.map(({ name, usual }) => [name, String(agent.limits[name] ?? usual)]);
  return {
    ...EMPTY_FORM,
    name: agent.name,
    enabled: agent.enabled,
    prompt: agent.prompt ?? "",
    provider: model?.provider ?? "",
    baseUrl: model?.base_url ?? "",
    modelName: model?.name ?? "",
    keyFrom: secret === "" ? "none" : own ? "stored" : "secret",
    hasKey: own,
    secret: own ? "" : secret,
    priceInput: model?.price ? String(model.price.input) : "",
    priceOutput: model?.price ? String(model.price.output) : "",
    tools: pretty(agent.tools),
    schema: agent.output_schema == null ? "" : pretty(agent.output_schema),
    limits: Object.fromEntries(limits) as Form["limits"],
    sources: agent.sources,
  };
}

export function pretty(json: unknown): string {
  return JSON.stringify(json, null, 2);
}

export type ParsedForm = { ok: true; definition: Definition } | { ok: false; errors: FieldErrors };

/** Parses the form of the agent `was`, or of a new one. */
export function parseForm(form: Form, was?: Agent): ParsedForm {
  const errors: FieldErrors = {};
  const tools = parseField(form.tools.trim() === "" ? "[]" : form.tools, "tools", errors);
  const schema = form.schema.trim() === "" ? undefined : parseField(form.schema, "output_schema", errors);
  const model = parseModel(form, was?.model, errors);
  const limits = parseLimits(form, errors);
  if (form.name.trim() === "") errors["name"] = "Give the agent a name";
  if (tools !== undefined && !Array.isArray(tools)) errors["tools"] = "The tools must be a JSON array: [ … ]";
  if (Object.keys(errors).length > 0) return { ok: false, errors };
  return {
    ok: true,
    definition: {
      name: form.name.trim(),
      enabled: form.enabled,
      ...(form.prompt.trim() !== "" && { prompt: form.prompt }),
      ...(model && { model }),
      tools: Array.isArray(tools) ? tools : [],
      sources: form.sources,
      ...(schema !== undefined && { output_schema: schema }),
      limits,
    },
  };
}

/** The PATCH that changes the agent to the definition; `undefined` if nothing changes. */
export function changesOf(agent: Agent, definition: Definition): Record<string, Json> | undefined {
  const { agent_id: _, webhook_url: _url, created_at: _made, updated_at: _changed, model_refuses: _refused, ...was } = agent;
  // Defaults that the form shows although the agent does not contain them.
  const limits = { ...defaults(definition.limits), ...was.limits };
  const patch = mergePatch({ ...was, limits } as unknown as Json, definition as unknown as Json);
  return patch as Record<string, Json> | undefined;
}

function defaults(now: Limits): Partial<Limits> {
  return now.max_total_tokens === 500_000 ? { max_total_tokens: 500_000 } : {};
}

/** The field that an error belongs to: the message begins with it, in backticks or as a path. */
export function fieldOf(message: string): string | undefined {
  const [, quoted] = /^`([a-z_]+(?:[.[][\w.[\]]*)?)`/.exec(message) ?? [];
  const [, path] = /^The agent is not valid: ([a-z_]+(?:[.[][\w.[\]]*)?): /.exec(message) ?? [];
  const field = quoted ?? path;
  if (isAboutTools(message)) return "tools";
  return field?.startsWith("tools") ? "tools" : field?.startsWith("sources") ? "sources" : field;
}

function isAboutTools(message: string): boolean {
  return /\b(of|in) (the )?(tool|operation) `|^(the )?tool `/i.test(message);
}

function parseField(text: string, field: string, errors: FieldErrors): Json | undefined {
  const wrong = jsonFault(text);
  if (wrong === undefined) return JSON.parse(text) as Json;
  errors[field] = `This is not valid JSON. ${wrong}.`;
  return undefined;
}

/** Why a text is not valid JSON, and where; `undefined` if it is valid. */
export function jsonFault(text: string): string | undefined {
  try {
    parseJson(text);
    return undefined;
  } catch (error) {
    if (error instanceof JsonError) return error.message;
    throw error;
  }
}

/** The server's message, with a position in the prompt as a line number. */
export function refusalInWords(message: string): string {
  return message.replace(/\(in prompt:(\d+)\)$/, "(line $1)");
}

export function parseModel(form: Form, was: Agent["model"], errors: FieldErrors): Model | undefined {
  if (form.provider === "") return undefined;
  const provider = providerInfo(form.provider);
  if (!isUsed(provider.model_name.rule)) return { provider: form.provider };
  const price = parsePrice(form, errors);
  const key = isUsed(provider.api_key) ? parseKey(form, was, errors) : undefined;
  return {
    provider: form.provider,
    ...(isUsed(provider.base_url.rule) && form.baseUrl.trim() !== "" && { base_url: form.baseUrl.trim() }),
    ...(form.modelName.trim() !== "" && { name: form.modelName.trim() }),
    ...(key !== undefined && { api_key: key }),
    ...(price && { price }),
  };
}

function parseKey(form: Form, was: Agent["model"], errors: FieldErrors): Model["api_key"] {
  switch (form.keyFrom) {
    case "none":
      return undefined;
    case "stored":
      return was?.api_key;
    case "typed":
      if (form.key.trim() === "") errors["model.api_key"] = "Paste the key, or choose another source";
      return form.key.trim();
    case "secret":
      if (form.secret.trim() === "") errors["model.api_key"] = "Enter the name of the secret that contains the key";
      return { secret: form.secret.trim() };
  }
}

function parsePrice(form: Form, errors: FieldErrors): Model["price"] {
  const [input, output] = [form.priceInput.trim(), form.priceOutput.trim()];
  if (input === "" && output === "") return undefined;
  const price = { input: Number(input), output: Number(output) };
  const known = (text: string, value: number) => text !== "" && Number.isFinite(value) && value >= 0;
  if (!known(input, price.input) || !known(output, price.output)) {
    errors["model.price"] = "Enter both prices as numbers, such as 0.15 and 0.6, or leave both empty";
  }
  return price;
}

function parseLimits(form: Form, errors: FieldErrors): Limits {
  const limits: Partial<Limits> = {};
  for (const { name, label, max, usual } of LIMITS) {
    const text = form.limits[name].trim();
    if (text === "" && usual === "") continue;
    const value = text === "" ? Number(usual) : Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max) {
      errors[`limits.${name}`] = `${label} must be a whole number from 1 to ${max.toLocaleString("en")}`;
    }
    limits[name] = value;
  }
  return limits as Limits;
}
