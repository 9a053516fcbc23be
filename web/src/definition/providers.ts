// The table of model providers. providers.json is generated from crates/domain/src/agent/model.rs.
import type { Provider } from "../types.ts";
import table from "./providers.json" with { type: "json" };

type Rule = "required" | "optional" | "refused" | "ignored";

interface FieldInfo {
  rule: Rule;
  label: string;
  hint: string;
  example: string;
}

export interface ProviderInfo {
  name: Provider;
  label: string;
  hint: string;
  model_name: FieldInfo;
  base_url: FieldInfo;
  api_key: Rule;
}

export const PROVIDERS = table as ProviderInfo[];

export function providerInfo(name: Provider): ProviderInfo {
  const found = PROVIDERS.find((provider) => provider.name === name);
  if (!found) throw new Error(`Unknown provider ${name}`);
  return found;
}

export function isUsed(rule: Rule): boolean {
  return rule === "required" || rule === "optional";
}
