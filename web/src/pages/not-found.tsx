import { EmptyState, LinkButton, Page } from "../ui/index.ts";

export function NotFoundPage() {
  return (
    <Page title="There is no such page">
      <EmptyState icon="search" title="Nothing is kept at this address" actions={<LinkButton href="/console/">Go to the overview</LinkButton>}>
        The link may be old, or mistyped.
      </EmptyState>
    </Page>
  );
}
