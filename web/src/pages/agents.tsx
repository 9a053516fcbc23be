import { Page } from "../ui/index.ts";

export function AgentsPage() {
  return <Page title="Agents">{null}</Page>;
}
