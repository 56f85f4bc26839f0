// Import this before the SDK: matrix-js-sdk 43 calls Promise.withResolvers, which Node 20 lacks. Without it sends fail.
const constructor = Promise as unknown as { withResolvers?: unknown };

constructor.withResolvers ??= function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T | PromiseLike<T>) => void;
  reject: (reason?: unknown) => void;
} {
  let resolve: (value: T | PromiseLike<T>) => void = () => undefined;
  let reject: (reason?: unknown) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
};

export {};
