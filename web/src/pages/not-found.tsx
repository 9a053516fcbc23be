import { EmptyState, LinkButton, Page } from "../ui/index.ts";

export function NotFoundPage() {
  return (
    <Page title="Page not found">
      <EmptyState icon="search" title="This address does not exist" actions={<LinkButton href="/console/">Go to the overview</LinkButton>}>
        The link may be outdated or wrong.
      </EmptyState>
    </Page>
  );
}
