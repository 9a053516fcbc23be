import { Button, ErrorNote } from "../ui/index.ts";
import type { Editor } from "./save.ts";

/** Shown at the bottom of the window while there are unsaved changes. */
export function SaveBar({ editor }: { editor: Editor }) {
  return (
    <div class={editor.dirty || editor.refusal ? "save-bar shown" : "save-bar"}>
      {editor.refusal && <ErrorNote error={editor.refusal} />}
      {editor.dirty && (
        <div class="save-row">
          <span>Unsaved changes</span>
          <Button onClick={editor.discard}>Discard</Button>
          <Button kind="primary" type="submit" busy={editor.busy}>
            Save
          </Button>
        </div>
      )}
    </div>
  );
}
