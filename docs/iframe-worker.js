// Browsers refuse a worker to a page opened from a file. The search then runs in an iframe of the
// page, which has a worker's interface. Material's worker looks for the name `IFrameWorker`.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.frame = frame.contentWindow;
      this.loaded = new Promise((resolve) => { this.frame.ready = resolve; });
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame) return;
        const message = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      });
      const page = this.frame.document;
      page.open();
      page.write(
        "<script>postMessage = (data) => parent.postMessage(data, '*')</script>" +
        `<script src="${new URL(url, location)}" onload="ready()"></script>`,
      );
      page.close();
    }
    postMessage(data) {
      const send = () => this.frame.dispatchEvent(new MessageEvent("message", { data }));
      this.loaded.then(send);
    }
    terminate() { this.frame.frameElement.remove(); }
  };
  window.Worker = window.IFrameWorker;
}
