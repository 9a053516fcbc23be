import { Page } from "../ui/index.ts";

export function NewAgentPage() {
  return <Page title="New agent">{null}</Page>;
}
