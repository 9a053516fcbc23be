import { Page } from "../ui/index.ts";

export function AgentPage({ id }: { id: string; part: string }) {
  return <Page title={id}>{null}</Page>;
}
