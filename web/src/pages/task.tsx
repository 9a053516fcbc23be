import { Page } from "../ui/index.ts";

export function TaskPage({ id }: { id: string }) {
  return <Page title={`Task ${id}`}>{null}</Page>;
}
