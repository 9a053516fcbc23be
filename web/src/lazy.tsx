// Parts of the console that are loaded when they are first shown.
import { type ComponentType, type JSX, h } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "./api.ts";
import { ErrorState, Skeleton } from "./ui/states.tsx";

// After an upgrade of the server, the files of an older console are missing.
const MISSING = new ApiError(0, "unreachable", "A part of the console could not be loaded. Reload the page.");

/** A component in its own file, with a skeleton until it is loaded. */
export function lazy<Props extends object>(load: () => Promise<ComponentType<Props>>): (props: Props) => JSX.Element {
  let loaded: ComponentType<Props> | undefined;
  return function Lazy(props: Props) {
    const [shown, setShown] = useState(() => loaded);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (shown) return;
      load().then(
        (component) => {
          loaded = component;
          setShown(() => component);
        },
        () => setFailed(true),
      );
    }, [shown]);
    if (failed) return <ErrorState error={MISSING} retry={() => window.location.reload()} />;
    return shown ? h(shown, props) : <Skeleton lines={3} />;
  };
}
