// Parts of the console that are fetched when they are first shown.
import { type ComponentType, type JSX, h } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "./api.ts";
import { ErrorState, Skeleton } from "./ui/states.tsx";

// A newer console may have replaced this one: then its parts are gone.
const MISSING = new ApiError(0, "unreachable", "A part of the console could not be fetched. Load the page anew.");

/** A component in a file of its own; grey lines stand in its place until it is there. */
export function lazy<Props extends object>(load: () => Promise<ComponentType<Props>>): (props: Props) => JSX.Element {
  let found: ComponentType<Props> | undefined;
  return function Lazy(props: Props) {
    const [shown, setShown] = useState(() => found);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (shown) return;
      load().then(
        (component) => {
          found = component;
          setShown(() => component);
        },
        () => setFailed(true),
      );
    }, [shown]);
    if (failed) return <ErrorState error={MISSING} retry={() => window.location.reload()} />;
    return shown ? h(shown, props) : <Skeleton lines={3} />;
  };
}
