import { Page } from "../ui/index.ts";

export function TasksPage() {
  return <Page title="Tasks">{null}</Page>;
}
