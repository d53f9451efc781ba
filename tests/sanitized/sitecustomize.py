"""Read by every Python that has this folder in its path, before anything else: `make sanitize` has it there.

The editable installation would find stoker in src/, with the native core that is used every day. Without its finder, the
package built under the sanitizers is found in the path.
"""

import sys

sys.meta_path = [finder for finder in sys.meta_path if type(finder).__name__ != "ScikitBuildRedirectingFinder"]
